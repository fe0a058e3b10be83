"""What messages say, in four languages. Nothing here tells anybody's health, nor whom the message is for.

`{when}` is day and time, `{at}` the time at which the waiting room opens, `{what}` the form of the visit, `{unit}` a
name that the care unit has said to be neutral.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT = "sv"


@dataclass(frozen=True)
class Words:
    """One language's.

    Attributes:
        day, day_year, time: patterns of Unicode's TR35, part 4, as Babel takes them.
        forms: what a visit by `video`, `phone` or `chat` is called.
        subjects, leads: by kind of message.
        sms: by kind of message, without the link.
    """

    day: str
    day_year: str
    time: str
    forms: Mapping[str, str]
    subjects: Mapping[str, str]
    hello: str
    leads: Mapping[str, str]
    with_unit: str
    link: str
    link_known: str
    opens: str
    by_phone: str
    personal: str
    link_over: str
    foot: str
    sms: Mapping[str, str]
    sms_link: str
    sms_link_known: str


WORDS: Mapping[str, Words] = {
    "sv": Words(
        day="EEEE d MMMM 'kl.' HH:mm",
        day_year="EEEE d MMMM y 'kl.' HH:mm",
        time="HH:mm",
        forms={"video": "videomöte", "phone": "telefonmöte", "chat": "chattmöte"},
        subjects={
            "invitation": "Tid för {what}: {when}",
            "reminder": "Påminnelse: {what} {when}",
            "moved": "Ny tid för {what}: {when}",
            "cancelled": "Inställt: {what} {when}",
        },
        hello="Hej!",
        leads={
            "invitation": "Du har en bokad tid: {what} {when} ({zone}).",
            "reminder": "Vi påminner om din bokade tid: {what} {when} ({zone}).",
            "moved": "Din bokade tid är ändrad. Ny tid: {what} {when} ({zone}).",
            "cancelled": "Din bokade tid är inställd: {what} {when} ({zone}).",
        },
        with_unit="Mötet är med {unit}.",
        link="Din personliga länk:",
        link_known="Använd den personliga länk som du redan har fått.",
        opens="Öppna länken när det är dags. Väntrummet öppnar {at}.",
        by_phone="Öppna länken när det är dags, så ser personalen att du är där. Sedan ringer de dig.",
        personal="Länken är bara till för dig. Skicka den inte vidare.",
        link_over="Länken går inte längre att använda.",
        foot="Meddelandet skickades automatiskt och går inte att svara på.",
        sms={
            "invitation": "Bokad tid: {what} {when}.",
            "reminder": "Påminnelse: {what} {when}.",
            "moved": "Ny tid: {what} {when}.",
            "cancelled": "Inställt: {what} {when}.",
        },
        sms_link="Din personliga länk, skicka den inte vidare:",
        sms_link_known="Använd länken som du har fått.",
    ),
    "en": Words(
        day="EEEE d MMMM 'at' HH:mm",
        day_year="EEEE d MMMM y 'at' HH:mm",
        time="HH:mm",
        forms={"video": "video meeting", "phone": "phone meeting", "chat": "chat meeting"},
        subjects={
            "invitation": "Time for a {what}: {when}",
            "reminder": "Reminder: {what} {when}",
            "moved": "New time for your {what}: {when}",
            "cancelled": "Cancelled: {what} {when}",
        },
        hello="Hello,",
        leads={
            "invitation": "You have an appointment: {what} {when} ({zone}).",
            "reminder": "This is a reminder of your appointment: {what} {when} ({zone}).",
            "moved": "Your appointment has moved. New time: {what} {when} ({zone}).",
            "cancelled": "Your appointment is cancelled: {what} {when} ({zone}).",
        },
        with_unit="It is with {unit}.",
        link="Your personal link:",
        link_known="Use the personal link that you already have.",
        opens="Open the link when it is time. The waiting room opens at {at}.",
        by_phone="Open the link when it is time, so that the staff see that you are there. Then they phone you.",
        personal="The link is only for you. Don't forward it.",
        link_over="The link can't be used any more.",
        foot="This message was sent automatically and can't be replied to.",
        sms={
            "invitation": "Appointment: {what} {when}.",
            "reminder": "Reminder: {what} {when}.",
            "moved": "New time: {what} {when}.",
            "cancelled": "Cancelled: {what} {when}.",
        },
        sms_link="Your personal link, don't forward it:",
        sms_link_known="Use the link that you already have.",
    ),
    "fi": Words(
        day="EEEE d. MMMM 'klo' HH.mm",
        day_year="EEEE d. MMMM y 'klo' HH.mm",
        time="HH.mm",
        forms={"video": "videotapaaminen", "phone": "puhelintapaaminen", "chat": "chat-tapaaminen"},
        subjects={
            "invitation": "Varattu aika: {what} {when}",
            "reminder": "Muistutus: {what} {when}",
            "moved": "Uusi aika: {what} {when}",
            "cancelled": "Peruttu: {what} {when}",
        },
        hello="Hei!",
        leads={
            "invitation": "Sinulle on varattu aika: {what} {when} ({zone}).",
            "reminder": "Muistutamme varatusta ajastasi: {what} {when} ({zone}).",
            "moved": "Varattu aikasi on muuttunut. Uusi aika: {what} {when} ({zone}).",
            "cancelled": "Varattu aikasi on peruttu: {what} {when} ({zone}).",
        },
        with_unit="Tapaamisen järjestää {unit}.",
        link="Henkilökohtainen linkkisi:",
        link_known="Käytä henkilökohtaista linkkiä, jonka olet jo saanut.",
        opens="Avaa linkki, kun on aika. Odotushuone avautuu klo {at}.",
        by_phone="Avaa linkki, kun on aika, niin henkilökunta näkee, että olet paikalla. Sitten sinulle soitetaan.",
        personal="Linkki on vain sinulle. Älä lähetä sitä eteenpäin.",
        link_over="Linkkiä ei voi enää käyttää.",
        foot="Tämä viesti lähetettiin automaattisesti, eikä siihen voi vastata.",
        sms={
            "invitation": "Varattu aika: {what} {when}.",
            "reminder": "Muistutus: {what} {when}.",
            "moved": "Uusi aika: {what} {when}.",
            "cancelled": "Peruttu: {what} {when}.",
        },
        sms_link="Henkilökohtainen linkkisi, älä lähetä sitä eteenpäin:",
        sms_link_known="Käytä linkkiä, jonka olet jo saanut.",
    ),
    "ar": Words(
        day="EEEE d MMMM 'الساعة' HH:mm",
        day_year="EEEE d MMMM y 'الساعة' HH:mm",
        time="HH:mm",
        forms={"video": "لقاء عبر الفيديو", "phone": "لقاء عبر الهاتف", "chat": "لقاء عبر الدردشة"},
        subjects={
            "invitation": "موعد: {what}، {when}",
            "reminder": "تذكير: {what}، {when}",
            "moved": "موعد جديد: {what}، {when}",
            "cancelled": "أُلغي: {what}، {when}",
        },
        hello="مرحبًا،",
        leads={
            "invitation": "لديك موعد محجوز: {what}، {when} ({zone}).",
            "reminder": "نذكّرك بموعدك المحجوز: {what}، {when} ({zone}).",
            "moved": "تغيّر موعدك المحجوز. الموعد الجديد: {what}، {when} ({zone}).",
            "cancelled": "أُلغي موعدك المحجوز: {what}، {when} ({zone}).",
        },
        with_unit="اللقاء مع {unit}.",
        link="رابطك الشخصي:",
        link_known="استخدم الرابط الشخصي الذي وصلك من قبل.",
        opens="افتح الرابط عندما يحين الموعد. تُفتح غرفة الانتظار الساعة {at}.",
        by_phone="افتح الرابط عندما يحين الموعد ليرى الموظفون أنك حاضر، ثم يتصلون بك.",
        personal="هذا الرابط لك وحدك. لا ترسله إلى غيرك.",
        link_over="لم يعد بالإمكان استخدام الرابط.",
        foot="أُرسلت هذه الرسالة تلقائيًا ولا يمكن الرد عليها.",
        sms={
            "invitation": "موعد محجوز: {what}، {when}.",
            "reminder": "تذكير: {what}، {when}.",
            "moved": "موعد جديد: {what}، {when}.",
            "cancelled": "أُلغي: {what}، {when}.",
        },
        sms_link="رابطك الشخصي، لا ترسله إلى غيرك:",
        sms_link_known="استخدم الرابط الذي وصلك من قبل.",
    ),
}


def language(*wanted: str | None) -> str:
    """The first of these languages (BCP 47) in which there are words, else Swedish."""
    for one in wanted:
        tag = (one or "").partition("-")[0].lower()
        if tag in WORDS:
            return tag
    return DEFAULT
