# ruff: noqa: RUF001 - the dotless i of Turkish is meant
"""Given names and surnames of many cultures, with their diacritics, as raw material for invented people."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

# Letters that do not decompose into a base letter and a mark, and scripts that a mail address is romanised from.
_TRANSLITERATION = str.maketrans(
    {
        "ß": "ss",
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "ø": "o",
        "Ø": "O",
        "æ": "ae",
        "Æ": "Ae",
        "å": "a",
        "Å": "A",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "Ð": "D",
        "þ": "th",
        "Þ": "Th",
        "ı": "i",
        "œ": "oe",
        "Œ": "Oe",
    }
)


@dataclass(frozen=True, slots=True)
class Culture:
    """Names that go together. ``given`` and ``surnames`` are parallel in nothing: any pair is plausible."""

    given: tuple[str, ...]
    surnames: tuple[str, ...]


def _culture(given: str, surnames: str) -> Culture:
    return Culture(tuple(given.split()), tuple(surname.replace("_", " ") for surname in surnames.split()))


CULTURES: dict[str, Culture] = {
    "german": _culture(
        "Jürgen Käthe Björn Günther Ännchen Lukas Sören Anneliese Jörg Hannelore Matthias Ursula Felix Heike Götz Marlene",
        "Müller Schäfer Groß Weiß Köhler Jäger Böhm Krämer Strauß Brügger Lindner von_Allmen Hoffmann Übelhör Vogel",
    ),
    "english": _culture(
        "Oliver Amelia Noah Charlotte Harry Isla George Freya Arthur Zoë Siân Rhys Aoife Seán Niamh Callum",
        "O'Brien Smith-Jones McAllister Clarke Whitfield Thornton Hughes O'Connor Pemberton Baker Lloyd Ó_Súilleabháin Walsh",
    ),
    "french": _culture(
        "Élodie François Chloé Benoît Zoé Jérôme Agnès Rémi Hélène Loïc Anaïs Gaël Noémie Stéphane Maëlle Théo",
        "Lefèvre Béranger Guérin D'Aubigné Le_Goff Hernández-Petit Côté Lemaître Desprès Faure Besançon Gauthier Maçon Noël",
    ),
    "spanish": _culture(
        "José María Íñigo Begoña Álvaro Lucía Jesús Inés Andrés Sofía Ramón Belén Óscar Nuria Joaquín Pilar",
        "García Núñez Muñoz Peña Ibáñez Rodríguez de_la_Cruz Gutiérrez Ordóñez López Castaño Martínez Zúñiga Yáñez",
    ),
    "portuguese": _culture(
        "João Conceição Inês Antônio Luís Catarina Gonçalo Mônica Estêvão Beatriz Thaís Rui Simão Letícia",
        "Gonçalves Araújo Magalhães da_Conceição Simões Guimarães Falcão Brandão Assunção Corrêa Sá Leitão",
    ),
    "polish": _culture(
        "Łukasz Małgorzata Michał Agnieszka Paweł Zofia Świętosława Bartłomiej Żaneta Grażyna Wojciech Jędrzej",
        "Wiśniewski Dąbrowska Kamiński Łukaszewicz Zieliński Żółkiewska Świątek Gołębiowski Wróbel Ostrowska Śliwa Pająk",
    ),
    "czech": _culture(
        "Jiří Eliška Tomáš Zdeňka Ondřej Kateřina Miloš Věra Řehoř Šárka Luboš Žofie",
        "Dvořák Novotná Černý Procházková Růžička Šťastná Kučera Hrušková Říha Žáková Švejda Vlček",
    ),
    "nordic": _culture(
        "Åsa Jørgen Søren Kåre Märta Øyvind Þórdís Guðrún Leif Astrid Håkan Signe Ærø Mikko Päivi Sigurður",
        "Ångström Sørensen Bjørnstad Lindström Hämäläinen Jónsdóttir Ødegård Kjær Åkesson Virtanen Nygård Þorsteinsson",
    ),
    "turkish": _culture(
        "Çağla Şükrü Işıl Gökhan Ömer Ayşe Uğur İpek Özge Büşra Cem Yağmur",
        "Yılmaz Çelik Şahin Öztürk Kılıç Güneş Doğan Aydın Koç Çağlar Erdoğmuş Işık",
    ),
    "vietnamese": _culture(
        "Hương Tuấn Thủy Đức Ngọc Hiếu Quỳnh Dũng Phượng Bảo Yến Thắng",
        "Nguyễn Trần Phạm Đặng Bùi Huỳnh Võ Đỗ Lý Hồ",
    ),
    "indian": _culture(
        "Aarav Priya Arjun Lakshmi Rohan Ananya Vikram Meera Sanjay Kavya Nikhil Divya Harpreet Ishaan",
        "Sharma Iyer Patel Chatterjee Reddy Menon Kapoor Banerjee Subramanian Singh Desai Kulkarni",
    ),
    "japanese": _culture(
        "Haruto Yūko Kenji Sakura Ryō Ayumi Daichi Misaki Shōta Emi Takumi Naoko",
        "Satō Itō Yamamoto Katō Kobayashi Ōno Tanaka Saitō Mori Endō Hayashi Gotō",
    ),
    "romanian": _culture(
        "Ștefan Ioana Răzvan Mădălina Țuțu Cătălin Ileana Brândușa Mihai Ancuța",
        "Popescu Țăranu Bălan Ștefănescu Crăciun Munteanu Năstase Dumitrașcu Vlădescu Ionescu",
    ),
    "west african": _culture(
        "Chidinma Oluwaseun Kwame Adaeze Kofi Ngozi Amara Ìfẹ́ Babatunde Efua",
        "Okafor Adéyẹmí Mensah Ọlátúnjí Nwosu Boateng Eze Owusu Abiodun Danso",
    ),
}


def romanised(name: str) -> str:
    """``name`` in the letters a-z of a mail address, lower case: ``Jürgen von Allmen`` gives ``juergenvonallmen``."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", name).translate(_TRANSLITERATION))
    return "".join(letter for letter in decomposed.lower() if "a" <= letter <= "z")
