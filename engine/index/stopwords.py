"""Function words by language: left out of queries, and what the language guess counts.

Short on purpose: articles, pronouns, prepositions, conjunctions, auxiliaries and question words.
Words are casefolded and keep their accents. A language without a list loses nothing but a little
speed: BM25 gives frequent words next to no weight anyway.
"""

# ruff: noqa: RUF001  (letters of other alphabets are meant)

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {
    "ar": """
        في من على إلى الى عن مع أن ان إن هذا هذه ذلك تلك التي الذي الذين كان كانت يكون هو هي هم
        ما ماذا متى أين اين كيف لماذا هل كم أي اي لم لن لا قد كل بعد قبل بين أو او ثم حتى عند
        لدى غير كما لكن منذ وهو وهي وفي ومن وعلى
    """,
    "da": """
        og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om vi
        min havde ham hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal selv her
        alle vil blev kunne ind når være dog noget ville jo deres efter ned skulle denne end dette
        hvorfor hvordan hvem hvilken hvilket
    """,
    "de": """
        der die das den dem des ein eine einer eines einem einen und oder aber doch wenn weil dass
        daß als wie ich du er sie es wir ihr mich dich sich uns euch ihm ihn ihnen mein dein sein
        seine seiner seinem seinen ihre ihrer ihrem ihren unser euer dieser diese dieses diesem
        diesen jener jene jenes ist sind war waren bin bist wird werden wurde wurden worden haben
        hat hatte hatten habe kann können konnte muss müssen soll sollen darf will wollen in im an
        am auf aus bei beim mit nach von vom vor zu zum zur über unter um für durch gegen ohne
        zwischen bis seit während nicht kein keine keiner auch noch nur schon so dann da hier dort
        was wer wo wann warum wieso welche welcher welches welchem welchen man sehr mehr
    """,
    "en": """
        a an the and or but if then than that this these those there here it its he she they we
        you i me my your his her our their them him us is are was were be been being am do does did
        doing have has had having can could shall should will would may might must of in on at by
        for from to with without into onto over under about against between through during before
        after above below up down out off as so such not no nor only too very just own same what
        which who whom whose when where why how all any both each few more most other some again
        once until while because dont doesnt didnt isnt arent wasnt werent cant couldnt wont
        wouldnt shouldnt havent hasnt hadnt im ive ill youre theyre whats
    """,
    "es": """
        el la los las un una unos unas lo al del de y e o u pero si no que qué quien quién quienes
        cual cuál cuales cuáles cuando cuándo donde dónde como cómo cuanto cuánto cuántos cuántas
        por para con sin sobre entre hasta desde durante contra en a ante bajo según tras es son
        era eran fue fueron ser está están estaba estar ha han había haber hay he me te se nos os
        le les mi mis tu tus su sus nuestro nuestra este esta estos estas ese esa esos esas aquel
        aquella esto eso yo tú él ella ellos ellas nosotros usted ustedes más menos muy también ya
        porque cada todo toda todos todas otro otra otros otras
    """,
    "fi": """
        ja on ei se että en hän oli mutta niin kuin mitä tämä minä sinä me te he olla olen olet
        olemme ovat olivat joka jonka jotka mikä missä milloin miksi miten kuka vai tai jos kun
        nyt sitten vain myös vielä jo kanssa
    """,
    "fr": """
        le la les l un une des du de d au aux et ou mais si que qu qui quoi quel quelle quels
        quelles quand où comment pourquoi combien dont ce cet cette ces c ça cela je j tu il elle on
        nous vous ils elles me te se s lui leur leurs mon ma mes ton ta tes son sa ses notre nos
        votre vos ne n pas plus moins très dans en sur sous par pour avec sans entre vers chez
        contre depuis pendant est sont était étaient être été sera ai as a avons avez ont avait
        avaient avoir fait y à comme aussi tout toute tous toutes autre autres même donc car
    """,
    "it": """
        il lo la i gli le l un uno una di a da in con su per tra fra del dello della dei degli delle
        al allo alla ai agli alle dal dalla nel nello nella nei nelle sul sulla e ed o ma se che
        chi cui quale quali quando dove come perché quanto quanti cosa è sono era erano essere
        stato stata ho hai ha abbiamo hanno aveva avere non più meno molto anche io tu lui lei noi
        voi loro mi ti si ci vi mio mia suo sua suoi questo questa questi queste quello quella
    """,
    "nl": """
        de het een en of maar dat die dit deze wie wat waar wanneer waarom hoe welke ik je jij hij
        zij ze wij we jullie u mij me jou hem haar ons hun is zijn was waren ben bent wordt worden
        werd werden heeft hebben had hadden heb kan kunnen kon moet moeten zal zullen zou niet
        geen ook nog al in op aan van voor met naar bij uit om over onder door tegen tot tussen
        zonder als dan er te
    """,
    "no": """
        og i jeg det at en et den til er som på de med han av for ikke der var meg seg men har om vi
        min hadde ham hun nå over da fra du ut sin dem oss opp man hans hvor eller hva skal selv
        her alle vil ble kunne inn når være noen ville deres etter ned skulle denne enn dette
        hvorfor hvordan hvem hvilken
    """,
    "pl": """
        i w na z do nie się że to jest o jak ale po co tak za od przez czy dla są był była było
        być ja ty on ona my wy oni go mu jej ich tym tego tej ten ta te kto gdzie kiedy dlaczego
        który która które oraz lub albo przy pod nad bez już tylko także może
    """,
    "pt": """
        o a os as um uma uns umas de do da dos das em no na nos nas por pelo pela para com sem
        sobre entre até desde e ou mas se que quem qual quais quando onde como quanto porque é são
        era eram foi foram ser está estão estar ter tem têm tinha há não mais menos muito também já
        eu tu ele ela nós vós eles elas me te lhe meu minha seu sua seus suas este esta estes estas
        esse essa isso isto ao aos à às
    """,
    "ru": """
        и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее
        её мне было вот от меня еще ещё нет о из ему теперь когда даже ну ли если уже или ни быть
        был него до вас они тут где есть для мы тебя их чем была сам чтоб без чего раз тоже кто
        этот того потому этого какой какая какие при об эти это почему сколько который которая
        которые
    """,
    "sv": """
        och i att det som en på är av för med den till inte om ett han men var jag sig från vi så
        kan när år säger hon under också efter eller nu sin där vid mot ska skulle kommer ut får
        finns vara hade alla andra mycket än här då sedan över bara in blir upp även vad få två
        vill ha många hur mer går sverige detta nya procent varför vem vilken vilket vilka du ni
        oss er deras dess
    """,
    "tr": """
        ve bir bu da de için ile ne çok daha gibi ama o mi mı mu mü ben sen biz siz onlar var yok
        olan olarak kadar sonra önce her şey ki ya en hangi nerede nasıl neden kim değil veya
    """,
}

# Adverbs that ask, behind the word that makes them ask: "how soon", "as early as", "wie oft".
# Elsewhere they say something ("fast charging", "early access") and stay.
_ASKING = {
    "da": ("hvor", "ofte længe langt hurtigt tidligt sent snart mange meget stor gammel"),
    "de": (
        "wie so",
        "oft häufig lange lang schnell früh spät bald weit viel viele vielen groß hoch alt teuer",
    ),
    "en": (
        "how as so too",
        "soon fast quick quickly often frequently early late far long many much big large old tall high",
    ),
    "es": ("cuan cuán tan", "pronto rápido temprano tarde lejos frecuentemente menudo"),
    "fi": ("kuinka miten", "usein kauan nopeasti pian aikaisin myöhään kaukana monta paljon"),
    "fr": ("si aussi", "tôt tard vite souvent loin longtemps"),
    "it": ("quanto così", "presto tardi spesso lontano veloce velocemente tempo"),
    "nl": ("hoe zo", "vaak snel vroeg laat ver lang veel groot hoog oud gauw"),
    "no": ("hvor så", "ofte lenge langt fort raskt tidlig sent snart mange mye stor gammel"),
    "pl": ("jak tak", "często długo szybko wcześnie późno daleko dużo wiele prędko"),
    "pt": ("quão tão", "cedo tarde rápido longe frequentemente breve"),
    "ru": ("как так", "часто долго быстро рано поздно далеко скоро много"),
    "sv": ("hur så", "ofta länge långt snabbt fort tidigt sent snart många mycket stor gammal"),
    "tr": ("ne", "sıklıkla sık zaman hızlı erken geç uzak uzun çok"),
}

ASKING: Mapping[tuple[str, str], frozenset[str]] = {
    (language, opener): frozenset(adverbs.split())
    for language, (openers, adverbs) in _ASKING.items()
    for opener in openers.split()
}

STOPWORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split()) for language, words in _WORDS.items()
}
