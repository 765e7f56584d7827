"""What is said in a thread of the bot, in many languages: asked, thanked, greeted, or just said."""

# ruff: noqa: RUF001 (other scripts are what it is about)

from __future__ import annotations

import pytest

from bots.conversation import Ask, Greet, Ignore, InboundMessage, Known, Nod, decide
from bots.smalltalk import asks, small_talk

ASKED = """
tell me how to deploy
Need help with VPN
rotate the staging key, please
VPN config for new laptops
and in dollars?
Deploy steps for the shop
Thanks! And how do I roll it back
ok, and what about Windows?
hi, my laptop does not see the printer
password reset
show me the onboarding checklist
I can't log in to Grafana
Erklär mir den Freigabeprozess
Brauche Hilfe mit dem VPN
danke, und wie lange dauert das
Urlaubsantrag stellen
explique-moi la procédure de congés
j'ai besoin d'un accès au dépôt
merci, et pour Windows ?
necesito ayuda con la VPN
dime cómo se despliega
explícame el proceso de compras
preciso de ajuda com a VPN
me mostra como fazer o deploy
obrigado, mas como eu desfaço isso?
spiegami come funziona il rimborso
mi serve la password del wifi
расскажи как выкатить релиз
нужна помощь с VPN
спасибо, а как откатить
не работает принтер на третьем этаже
デプロイの手順を教えてください
VPNの設定方法
有給休暇の申請について知りたいです
ありがとうございます。返品の場合はどうなりますか
プリンターが動きません
怎么部署到生产环境
请告诉我如何申请VPN
打印机坏了
谢谢，那退货呢
VPN 설정 방법 알려주세요
배포는 어떻게 하나요
휴가 신청 절차
bana nasıl deploy edileceğini anlat
VPN için yardım lazım
jak wdrożyć na produkcję
hoe vraag ik verlof aan
كيف أطلب إجازة
मुझे वीपीएन में मदद चाहिए
bagaimana cara mengajukan cuti
ช่วยบอกวิธีตั้งค่า VPN
cho tôi biết cách xin nghỉ phép
"""
THANKED = """
thanks
thank you so much!
thanks 🙏
Thx, that solved it
that worked, thanks
vielen Dank!
Danke dir
merci beaucoup
muchas gracias
gracias por la ayuda
muito obrigado
grazie mille
спасибо большое
Спасибо!
ありがとうございます！
助かりました、ありがとう
谢谢
谢谢你 👍
감사합니다
정말 고마워요
teşekkürler
çok teşekkür ederim
شكرا جزيلا
धन्यवाद
dziękuję bardzo
bedankt
terima kasih
ขอบคุณครับ
cảm ơn bạn nhiều
"""
GREETED = """
hi
Hello there!
good morning everyone
Guten Morgen zusammen
hola
buenos días
bonjour à tous
bom dia
olá
ciao
привет
добрый день всем привет
こんにちは
おはようございます
你好
大家好
안녕하세요
merhaba
مرحبا
नमस्ते
cześć
สวัสดีครับ
"""
SAID = """
lol
hahaha
ok
Got it, ok
👍
:+1:
perfect!
nice
ah, so early
genau
vale, perfecto
d'accord
beleza
понятно
ага, ясно
хахаха
www
了解です
なるほど！
好的
哈哈哈
ㅋㅋㅋ
네 알겠습니다
tamam
jajaja
kkkkk
"""


def lines(table: str) -> list[str]:
    return table.strip().splitlines()


THREAD = InboundMessage("slack", "T1", "C1", "channel", "1.0", "U1", "", thread="0.9")
DIRECT = InboundMessage("slack", "T1", "D1", "direct", "1.0", "U1", "")
OURS = Known(in_conversation=True)


def said(message: InboundMessage, text: str) -> InboundMessage:
    return InboundMessage(**{
        name: getattr(message, name) for name in message.__dataclass_fields__
    } | {"text": text})  # fmt: skip


@pytest.mark.parametrize("text", lines(ASKED))
def test_what_is_meant_is_answered_in_a_thread_of_ours_and_in_private(text):
    found = decide(said(THREAD, text), OURS)
    assert isinstance(found, Ask)
    assert found.question == text
    assert decide(said(DIRECT, text), Known()) == Ask(text)


@pytest.mark.parametrize("text", lines(THANKED))
def test_gratitude_gets_a_sign_and_no_answer(text):
    assert small_talk(text) == "thanks"
    assert decide(said(THREAD, text), OURS) == Nod()
    assert decide(said(DIRECT, text), Known()) == Nod()


@pytest.mark.parametrize("text", lines(GREETED))
def test_a_greeting_gets_a_word_or_a_sign_and_no_answer(text):
    assert small_talk(text) == "greeting"
    assert decide(said(THREAD, text), OURS) == Nod()
    assert decide(said(DIRECT, text), Known()) == Greet()


@pytest.mark.parametrize("text", lines(SAID))
def test_chatter_is_left_alone_in_a_thread_and_never_answered(text):
    assert small_talk(text) == "chatter"
    assert isinstance(decide(said(THREAD, text), OURS), Ignore)
    assert isinstance(decide(said(DIRECT, text), Known()), Nod | Greet)


@pytest.mark.parametrize("flag", ["calls_others", "replies_to_other"])
@pytest.mark.parametrize("text", ["tell me how to deploy", "нужна помощь с VPN", "why?"])
def test_what_is_said_to_someone_else_is_not_answered(flag, text):
    message = said(THREAD, text)
    other = InboundMessage(**{
        name: getattr(message, name) for name in message.__dataclass_fields__
    } | {flag: True})  # fmt: skip
    assert isinstance(decide(other, OURS), Ignore)


@pytest.mark.parametrize("text", ["", "   ", "👍🎉", "...", "❤️"])
def test_a_message_without_words_asks_nothing(text):
    assert small_talk(text) == "chatter"
    assert not asks(text)
