"""Whether a message is small talk (thanks, a greeting, a laugh) or asks for something. Pure.

What people ask has no end of forms, in any language; what they say out of courtesy has few. So the
lists here are of courtesies, and whatever is not made of them alone counts as meant. Languages that
are written without spaces are read as a run of phrases, all others as words.
"""

# ruff: noqa: RUF001 (other scripts are what this module is about)

from __future__ import annotations

import re
import unicodedata
from typing import Literal

SmallTalk = Literal["", "thanks", "greeting", "chatter"]

_BY_STRENGTH: tuple[SmallTalk, ...] = ("thanks", "greeting", "chatter")
WORDS_MAX = 8  # of thanks that say what for; longer ones are about something
LONG = 40  # characters of a word; what is longer is none
REMARK_MAX = 4  # of "that worked, thanks", "sounds good", "ah, so early"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_THANKS = _words(
    "thanks thank thankyou thx thnx tnx ty tysm tyvm cheers appreciated kudos danke dankeschön"
    " dankeschon merci gracias grazie obrigado obrigada obg valeu vlw bedankt dankjewel dank tack"
    " takk tak kiitos dzięki dziękuję dziekuje díky děkuji спасибо спс благодарю пасиб дякую"
    " teşekkürler teşekkür sağol sağolun eyvallah شكرا شكراً مشكور متشكرم ممنون תודה धन्यवाद शुक्रिया"
    " dhanyavaad shukriya makasih terima kasih cảm ơn salamat ευχαριστώ mulțumesc multumesc"
    " spasibo dankeschoen obrigadao 감사합니다 감사해요 감사 고마워 고마워요 고맙습니다 ㄱㅅ ᄀᄉ"
)
_GREETINGS = _words(
    "hi hello hey hiya howdy yo greetings morning evening afternoon ping test start hallo moin servus"
    " grüezi hola buenas bonjour salut bonsoir coucou ciao buongiorno buonasera salve olá ola oi"
    " hej hei heisann moi terve cześć czesc hejka ahoj привет здравствуйте здравствуй приветик"
    " хай привіт вітаю merhaba selam مرحبا أهلا السلام سلام שלום नमस्ते namaste halo xin chào"
    " witam pessoal morgen tag abend día días dia dias tardes noches tarde noite giorno sera matin день утро вечер"
    " kumusta γεια bună salut 안녕 안녕하세요 안녕하십니까 goedemorgen goedendag"
)
_CHATTER = _words(
    "ok okay okey okie k kk lol lmao rofl haha hehe yes yep yeah yup no nope nah sure cool nice great"
    " perfect awesome wow brilliant excellent understood noted done right agreed exactly true same"
    " bye goodbye cya welcome sorry oops yay hooray hm hmm ah aha oh ooh ja jo nein genau klar super"
    " prima passt verstanden toll tschüss sí si vale claro listo perfecto genial bueno adiós oui non"
    " parfait d'accord dac compris bien merde bonne va perfetto bene capito certo sì sim não beleza"
    " blz perfeito entendi legal tá da nu okej dobra tak nie super jasne да нет ок окей ага понятно"
    " понял поняла ясно хорошо отлично супер круто пока давай evet hayır tamam güzel harika نعم لا"
    " تمام حسنا ठीक है हाँ नहीं अच्छा baik oke sip ya tidak vâng được 네 예 넵 응 좋아요 좋네요 알겠습니다 굿"
    " fine alright willdo gotcha roger thumbs up np brb bad worries entendido vist entendu tamamdır verstehe 1"
)
# What stands beside courtesies and says nothing by itself.
_FILLERS = _words(
    "you u so very much a lot again all everyone everybody team folks guys friend bot scrubjay there"
    " to for the your help answer me it that this was is and but good got my dear have day many"
    " für hilfe help hulp aide ayuda ajuda aiuto yardım pomoc my you're no million bunch ton one works worked makes sense sounds will i see thing"
    " dir ihnen euch vielen sehr schön guten gute morgen tag abend nacht zusammen ist das die der alles"
    " mal muchas mil por la ayuda buenos días dias tardes noches a todos que tal bon matinée beaucoup"
    " pour l'aide à tous toi vous tutti mille molto tanto de mesmo muito muita bom boa dia tarde noite"
    " pela ajuda wel mange så meget tusen bardzo за помощь большое огромное добрый доброе день утро"
    " вечер тебе вам все всем всё ederim ederiz çok günaydın iyi günler جزيلا لك عليكم صباح الخير"
    " बहुत आपका banyak selamat pagi siang bạn nhiều 정말 너무 매우 대단히 좋은 아침 하루 도움"
)
# Scripts without spaces between words: courtesies in full, then what may follow them.
_UNSPACED_THANKS = [
    "どうもありがとうございました",
    "どうもありがとうございます",
    "ありがとうございました",
    "ありがとうございます",
    "ありがとう",
    "有難うございます",
    "有難う",
    "助かりました",
    "助かります",
    "助かった",
    "感謝します",
    "感謝",
    "サンキュー",
    "あざす",
    "どうも",
    "非常感谢",
    "多谢",
    "谢谢您",
    "谢谢你",
    "谢谢大家",
    "谢谢啦",
    "谢谢",
    "谢了",
    "感谢",
    "太感谢了",
    "謝謝",
    "多謝",
    "感謝",
    "辛苦了",
    "3q",
    "ขอบคุณมาก",
    "ขอบคุณ",
    "ขอบใจ",
]
_UNSPACED_GREETINGS = [
    "おはようございます",
    "おはよう",
    "こんにちは",
    "こんばんは",
    "はじめまして",
    "お疲れ様です",
    "お疲れさまです",
    "おつかれさま",
    "もしもし",
    "やあ",
    "你好",
    "您好",
    "大家好",
    "早上好",
    "早安",
    "早",
    "晚上好",
    "下午好",
    "嗨",
    "哈喽",
    "哈囉",
    "喂",
    "สวัสดี",
    "หวัดดี",
]
_UNSPACED_CHATTER = [
    "了解しました",
    "了解です",
    "了解",
    "承知しました",
    "わかりました",
    "分かりました",
    "わかった",
    "なるほど",
    "はい",
    "いいえ",
    "うん",
    "いいね",
    "すごい",
    "すばらしい",
    "完璧",
    "です",
    "でした",
    "ね",
    "よ",
    "笑",
    "草",
    "明白了",
    "明白",
    "知道了",
    "好的",
    "好吧",
    "好",
    "是的",
    "对的",
    "对",
    "嗯",
    "行",
    "可以",
    "没问题",
    "收到",
    "懂了",
    "原来如此",
    "厉害",
    "赞",
    "棒",
    "太好了",
    "太棒了",
    "了",
    "的",
    "啊",
    "啦",
    "呀",
    "哦",
    "吧",
    "โอเค",
    "ครับ",
    "ค่ะ",
    "คะ",
    "นะ",
    "มาก",
    "จ้า",
    "ได้",
]
_LAUGHTER = re.compile(
    r"(?:(?:ha|he|hi|ho|ja|je|ji|ah|hah|xa|ха|хе|хи|ах){2,}h?|w{2,}|k{3,}|(?:rs){1,}|(?:ks){2,}"
    r"|5{3,}|x+d+|l+o+l+|[ㅋᄏ]+|[ㅎᄒ]+|[ㅠㅜᅲᅮ]+|哈+|呵+|嘿+|哇+|笑+|草+|く+す*|ه{2,}|хм+|h+m+|м+|mhm+|a+h+|o+h+|aw+)",
    re.IGNORECASE,
)
_EMOJI_NAME = re.compile(r":[a-z0-9_+\-]{2,40}(?:::skin-tone-\d)?:")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1780-\u17ff]")
_QUESTION_MARK = re.compile(r"[?？؟⁇⁈⁉❓❔՞፧\u037e]")

# By these somebody asks without a mark. They decide only whether to reply that nothing was found.
_ASKING = _words(
    "what which who whom whose when where why how please help"
    " need want tell show explain describe give find list looking search anyone anybody someone"
    " wie was wer wann wo warum wieso weshalb welche welcher welches kann können gibt bitte hilfe"
    " brauche brauchen erkläre zeig zeige suche"
    " comment pourquoi quand où qui quel quelle quels quelles combien besoin explique expliquez montre"
    " montrez aide aidez cherche dis dites peux peut"
    " cómo como qué quién cuándo dónde cuál cuánto cuánta algún alguna necesito ayuda explica explícame dime muestra"
    " muéstrame busco puedes puede quiero favor"
    " qual quais quando onde quem por preciso ajuda explique mostre quanto quanta diga quero pode podem"
    " come cosa chi dove perché quale quali bisogno aiuto spiega spiegami mostrami dimmi vorrei puoi"
    " hur hvordan hvor miten missä hoe wat wie waar waarom wanneer welke graag uitleg vertel laat zoek nodig"
    " jak co kto gdzie kiedy dlaczego który proszę pomocy pomoc potrzebuję pokaż wyjaśnij"
    " как что кто где когда почему зачем какой какая какие сколько нужна нужно нужен нужны помогите помоги"
    " подскажи подскажите расскажи расскажите покажи покажите объясни объясните дай дайте хочу можно"
    " пожалуйста ищу як що де коли чому потрібна потрібно допоможіть"
    " nasıl ne kim nerede neden niçin hangi lütfen yardım lazım istiyorum göster anlat açıkla söyle"
    " كيف ما ماذا من متى أين لماذا هل أريد احتاج أحتاج ساعدني أخبرني اشرح"
    " कैसे क्या कौन कब कहाँ क्यों मदद चाहिए बताओ बताइए बताएं समझाओ कृपया"
    " bagaimana apa siapa kapan dimana mengapa tolong mohon butuh jelaskan cara"
    " làm sao gì khi nào đâu tại giúp cần cho hãy"
    " 어떻게 뭐 무엇 누가 언제 어디 왜 어떤 얼마나 도와줘 도와주세요 알려줘 알려주세요 설명해 설명해줘 필요해 필요합니다"
    " 부탁해 부탁해요 부탁드립니다 방법"
)
# These ask where a message begins with them.
_OPENERS = _words("can could may should would will does did is are was were has have")
_UNSPACED_ASKING = re.compile(
    r"(?:教えて|ください|下さい|お願い|ほしい|欲しい|たい(?:です|の|んです)?$|ですか|ますか|方法|どう|どこ|なぜ|なに|何|誰|いつ"
    r"|怎么|怎麼|如何|什么|什麼|哪|谁|誰|吗|嗎|呢$|为什么|為什麼|请|請|告诉|告訴|帮|幫|需要|想要|想知道|求"
    r"|อย่างไร|ยังไง|อะไร|ที่ไหน|เมื่อไร|ทำไม|ใคร|ช่วย|ขอ(?!บ)|ต้องการ|อยาก|ไหม)"
)
_HANGUL_ASKING = re.compile(r"(?:까|나요|가요|세요|주세요|해줘|알려줘|인가|는지|습니까)[요]?$")


def small_talk(text: str) -> SmallTalk:
    """What kind of courtesy a message is; empty for anything that is meant."""
    said = _plain(text)
    if not said:
        return "chatter"
    if _QUESTION_MARK.search(text):
        return ""
    return _unspaced(said) if _UNSPACED.search(said) else _spaced(said)


def _spaced(said: str) -> SmallTalk:
    """Of courtesies and what goes with them: the strongest; else thanks, or a remark, in few words."""
    words = _tokens(said)
    kinds = [_kind(word) for word in words]
    unknown = kinds.count("")
    if not unknown:
        found: SmallTalk = next((kind for kind in _BY_STRENGTH if kind in kinds), "")
        if found == "thanks" or not asks(said):
            return found or ("chatter" if len(words) <= REMARK_MAX else "")
    if asks(said):
        return ""
    first = kinds[0] == "thanks" and unknown <= 2 and len(words) <= WORDS_MAX
    last = kinds[-1] == "thanks" and unknown <= 1 and len(words) <= REMARK_MAX
    if first or last:
        return "thanks"  # and what for: "thanks, that solved it"
    sighs = re.match(r"(?:ah|aha|oh|hm+|ach|ой|ах|о)\b\s*[,!…]", said)
    return "chatter" if sighs and len(words) <= REMARK_MAX else ""


def asks(text: str) -> bool:
    """Whether a message asks for something in so many words, by its marks or a word that asks."""
    said = _plain(text)
    if _QUESTION_MARK.search(text):
        return bool(said)
    if _UNSPACED.search(said) and _UNSPACED_ASKING.search(said.rstrip("。！!.… ")):
        return True
    words = _tokens(said)
    opens = bool(words) and words[0] in _OPENERS and len(words) > 1
    words += [word.partition("'")[0] for word in words if "'" in word]  # "where's"
    return opens or any(_asks(word) for word in words)


def _asks(word: str) -> bool:
    return word in _ASKING or (not _kind(word) and bool(_HANGUL_ASKING.search(word)))


def _tokens(said: str) -> list[str]:
    """Words with the marks that belong to their letters, and apostrophes inside."""
    parts = [char if _belongs(char) else " " for char in said.replace("’", "'")]
    return [word.strip("'") for word in "".join(parts).split() if word.strip("'")]


def _belongs(char: str) -> bool:
    return char == "'" or unicodedata.category(char)[0] in "LMN"


def _plain(text: str) -> str:
    """Lower case, without emoji, their names, and marks that only decorate; empty for nothing else."""
    said = unicodedata.normalize("NFKC", _EMOJI_NAME.sub(" ", text)).casefold().strip()
    return said if any(unicodedata.category(char)[0] in "LN" for char in said) else ""


def _kind(word: str) -> str:
    if len(word) > LONG:
        return ""
    if word in _THANKS:
        return "thanks"
    if word in _GREETINGS:
        return "greeting"
    if word in _CHATTER or _LAUGHTER.fullmatch(word):
        return "chatter"
    if word in _FILLERS:
        return "filler"
    squeezed = re.sub(r"(.)\1{2,}", r"\1", word)  # "thaaanks", "heeey"
    return _kind(squeezed) if squeezed != word else ""


def _unspaced(said: str) -> SmallTalk:
    """A run of courtesies and nothing else, by the strongest of them."""
    rest = "".join(char for char in said if unicodedata.category(char)[0] in "LMN" or char == "ー")
    found: set[SmallTalk] = set()
    kinds: tuple[tuple[SmallTalk, list[str]], ...] = (
        ("thanks", _UNSPACED_THANKS),
        ("greeting", _UNSPACED_GREETINGS),
        ("chatter", _UNSPACED_CHATTER),
    )
    phrases = sorted(
        ((phrase, kind) for kind, some in kinds for phrase in some),
        key=lambda pair: -len(pair[0]),
    )
    while rest:
        laugh = _LAUGHTER.match(rest)
        for phrase, kind in phrases:
            if rest.startswith(phrase):
                found.add(kind)
                rest = rest[len(phrase) :]
                break
        else:
            word = re.match(r"[a-z]+", rest)
            if laugh:
                found.add("chatter")
                rest = rest[laugh.end() :]
            elif word and (kind_of := _kind(word.group())):
                found.add("chatter" if kind_of == "filler" else kind_of)  # type: ignore[arg-type]
                rest = rest[word.end() :]
            else:
                return ""
    for strongest, _ in kinds:
        if strongest in found:
            return strongest
    return ""
