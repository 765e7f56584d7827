"""Old encodings: a file reads as it was written, or is refused; it is never garbled."""

# ruff: noqa: RUF001 (letters of many alphabets are what this is about)

from __future__ import annotations

import pytest

from ingestion.convert.document import ConversionError
from ingestion.convert.encoding import decode_text
from ingestion.convert.formats import convert

TEXTS = {
    "ar": "تعليمات تشغيل المضخة. قبل بدء العمل تحقق من الضغط في النظام ومستوى الزيت.",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy. Každý den měříme čistou hladinu.",
    "da": "Læs vejledningen før brug. Åbn døren på højre side og vælg størrelsen på æblet.",
    "de": "Die Größe der Straße ändert sich täglich, überprüft wird täglich das Öl der Geräte.",
    "el": "Οδηγίες χρήσης της αντλίας. Πριν από την έναρξη ελέγξτε την πίεση στο σύστημα.",
    "es": "La contraseña de la máquina está en el cajón. ¿Quién configuró el año pasado esto?",
    "he": "הוראות שימוש במשאבה. לפני תחילת העבודה בדקו את הלחץ במערכת ואת מפלס השמן.",
    "hu": "A munka megkezdése előtt ellenőrizze a nyomást. Árvíztűrő tükörfúrógép.",
    "ja": "作業を開始する前に、システムの圧力と油のレベルを確認してください。ポンプの説明書。",
    "ko": "작업을 시작하기 전에 시스템의 압력과 오일 수준을 확인하십시오. 펌프 사용 설명서.",
    "lt": "Prieš pradėdami darbą patikrinkite slėgį sistemoje ir alyvos lygį. Šešios žąsys.",
    "pl": "Zażółć gęślą jaźń. Proszę sprawdzić ciśnienie w układzie i poziom oleju.",
    "ro": "Înainte de începerea lucrului verificaţi presiunea şi nivelul uleiului din maşină.",
    "ru": "Инструкция по эксплуатации насоса. Перед началом работы проверьте давление.",
    "ru-capitals": "ИНСТРУКЦИЯ ПО ЭКСПЛУАТАЦИИ НАСОСА. ПЕРЕД НАЧАЛОМ РАБОТЫ ПРОВЕРЬТЕ ДАВЛЕНИЕ.",
    "th": "คู่มือการใช้งานปั๊มน้ำ ก่อนเริ่มงานโปรดตรวจสอบความดันในระบบและระดับน้ำมัน",
    "tr": "Çalışmaya başlamadan önce basıncı ve yağ seviyesini kontrol edin. Şifre değiştirildi.",
    "uk": "Інструкція з експлуатації насоса. Перед початком роботи перевірте тиск у системі.",
    "zh": "开始工作之前，请检查系统压力和油位。水泵使用说明书。数据库密码在抽屉里。",
    "zh-short": "数据库密码在抽屉里",
    "zh-tw": "開始工作之前，請檢查系統壓力和油位。水泵使用說明書。資料庫密碼在抽屜裡。",
}
CYRILLIC = ("cp1251", "koi8_r", "cp866", "iso8859_5", "mac_cyrillic")
ENCODINGS = {
    "ar": ("cp1256", "iso8859_6", "cp720"),
    "cs": ("cp1250", "iso8859_2", "cp852"),
    "da": ("cp1252", "cp850", "mac_roman", "iso8859_15"),
    "de": ("cp1252", "cp850", "cp437", "mac_roman"),
    "el": ("cp1253", "iso8859_7", "cp737"),
    "es": ("cp1252", "cp850", "cp437", "mac_roman"),
    "he": ("cp1255", "iso8859_8", "cp862"),
    "hu": ("cp1250", "iso8859_2", "cp852"),
    "ja": ("shift_jis", "euc_jp", "iso2022_jp"),
    "ko": ("cp949", "euc_kr", "iso2022_kr"),
    "lt": ("cp1257", "iso8859_13", "cp775"),
    "pl": ("cp1250", "iso8859_2", "cp852", "mac_latin2"),
    "ro": ("cp1250", "iso8859_2"),
    "ru": CYRILLIC,
    "ru-capitals": CYRILLIC,
    "th": ("tis_620", "cp874"),
    "tr": ("cp1254", "iso8859_9", "cp857"),
    "uk": ("cp1251", "koi8_u", "iso8859_5"),
    "zh": ("gb2312", "gb18030", "hz"),
    "zh-short": ("gb2312",),
    "zh-tw": ("big5",),
}
CASES = [(language, encoding) for language, known in ENCODINGS.items() for encoding in known]
AMONG_ASCII = (
    "Document 12 of the pump manual\nVersion 3 (2024-05-01)\n\n{}\n\nhttps://example.com/a\n"
)


@pytest.mark.parametrize(("language", "encoding"), CASES)
@pytest.mark.parametrize("around", ["{}", AMONG_ASCII], ids=["alone", "among-ascii"])
def test_a_text_in_an_old_encoding_reads_as_it_was_written(
    language: str, encoding: str, around: str
) -> None:
    text = around.format(TEXTS[language])
    assert decode_text(text.encode(encoding))[0] == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *(
            (text, "cp1252")
            for text in ("España", "São Paulo", "Où est l'élève ?", "Grüße", "Malmö")
        ),
        *(
            (text, "cp1252")
            for text in ("Hyvää päivää", "cœur et œuvre", "Réunion du 3 août à 5 €")
        ),
        *(("Łódź", name) for name in ("cp1250", "iso8859_2")),
        *(("Žádost podejte včas", name) for name in ("cp1250", "iso8859_2", "cp852")),
        *(("Škoda se hlásí do tří dnů", name) for name in ("cp1250", "iso8859_2", "cp852")),
        ("Acme® Wärmepumpe, ©Müller 2024", "cp1252"),
        *((text, "cp1254") for text in ("Şifre çekmecede", "GÜNLÜK RAPOR ŞUBE")),
        *(("Привет, мир", name) for name in CYRILLIC),
        *(("Parole ir atvilktnē, šķīrējs", "cp1257"), ("รหัสผ่าน", "tis_620")),
        *(("パスワード", "cp932"), ("비밀번호", "cp949"), ("編號,姓名\n1,張三\n", "big5")),
    ],
)
def test_a_few_words_are_enough(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding))[0] == text


@pytest.mark.parametrize(
    ("charset", "language"),
    [
        *(("iso-2022-jp", "ja"), ("Shift_JIS", "ja"), ("x-sjis", "ja"), ("tis-620", "th")),
        *(("windows-874", "th"), ("iso-8859-11", "th"), ("cp866", "ru"), ("ibm866", "ru")),
        *(("koi8-r", "ru"), ("koi8-u", "uk"), ("gb2312", "zh"), ("hz-gb-2312", "zh")),
        *(("ks_c_5601-1987", "ko"), ("iso-8859-8-i", "he"), ("x-mac-cyrillic", "ru")),
    ],
)
def test_a_page_is_read_in_the_encoding_it_declares(charset: str, language: str) -> None:
    codecs = {"x-sjis": "shift_jis", "windows-874": "cp874", "iso-8859-8-i": "iso8859_8"}
    codecs |= {"hz-gb-2312": "hz", "x-mac-cyrillic": "mac_cyrillic"}
    page = (
        f"<html><head><meta http-equiv='Content-Type' content='text/html; charset={charset}'>"
        f"<title>A</title></head><body><p>{TEXTS[language]}</p></body></html>"
    )
    document = convert(page.encode(codecs.get(charset, charset)), "a.html")
    assert document.text == TEXTS[language]


@pytest.mark.parametrize("encoding", ["cp037", "cp500", "cp1140", "cp273", "cp1026"])
@pytest.mark.parametrize("end", ["\n", "", "\x85"])
def test_text_of_a_mainframe_is_refused_by_name(encoding: str, end: str) -> None:
    text = f"DEAR CUSTOMER, invoice 12345 of 3 May is due at once.{end}" * 5
    with pytest.raises(ConversionError, match="EBCDIC"):
        convert(text.encode(encoding), "letter.txt")


def test_bytes_that_are_no_words_in_any_encoding_are_refused() -> None:
    with pytest.raises(ConversionError, match="encoding that can't be told"):
        convert(b"abc " + bytes(range(0xFF, 0x80, -1)) * 3, "a.txt")


def test_a_few_foreign_bytes_cost_no_text_in_utf8() -> None:
    text = "Die Größe der Straße, täglich überprüft; das Öl für die Prüfgeräte."
    data = text.encode() + b" caf\xe9"
    assert decode_text(data) == (f"{text} caf\ufffd", "utf-8")


def test_a_log_with_a_sign_of_another_encoding_is_still_read() -> None:
    text, _ = decode_text(b"temperature 21 \xb0C\n" * 3)
    assert text.startswith("temperature 21 °C\n")


def test_colours_of_a_terminal_are_no_japanese() -> None:
    log = "\x1b[31merror\x1b[0m at \x1b(B line 3\n"
    assert decode_text(log.encode()) == (log, "utf-8")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.py", "a.rst"])
def test_a_guess_from_few_letters_is_said_and_what_to_do(name: str) -> None:
    said = "# Dvořák,x\n".encode("cp1250")
    assert convert(said, name).notice == (
        "The encoding was guessed as cp1250 from few letters: if they read wrongly,"
        " save the file as UTF-8 and add it again."
    )


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Dvořák", "utf-8"),
        ("Dvořák", "utf-16"),
        ("Zürich: Grüße aus Köln", "cp1252"),
        ("It’s “ok” – fine", "cp1252"),
        (TEXTS["ru"], "koi8_r"),
        (TEXTS["zh"], "gb18030"),
        (TEXTS["ja"], "cp932"),
        ("plain", "ascii"),
    ],
)
def test_a_sure_guess_needs_no_words(text: str, encoding: str) -> None:
    assert convert(text.encode(encoding), "a.txt").notice == ""
