"""What the invented company consists of: departments, offices, legal companies and cost centres.

The names are exported so that a ServiceNow instance can be seeded with the same reference records.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Office:
    """A place of work. ``country_code`` is ISO 3166-1 alpha-2, ``language`` a BCP 47 tag, ``prefix`` the telephone prefix."""

    name: str
    street: str
    city: str
    state: str | None
    postal_code: str
    country: str
    country_code: str
    language: str
    prefix: str
    culture: str


OFFICES: tuple[Office, ...] = (
    Office("Berlin Spree", "Am Köllnischen Park 4", "Berlin", None, "10179", "Germany", "DE", "de-DE", "+49 30", "german"),
    Office("München Isar", "Sonnenstraße 19", "München", "Bayern", "80331", "Germany", "DE", "de-DE", "+49 89", "german"),
    Office("Zürich Limmat", "Förrlibuckstrasse 60", "Zürich", "ZH", "8005", "Switzerland", "CH", "de-CH", "+41 44", "german"),
    Office("London Borough", "12 Borough Road", "London", None, "SE1 1HL", "United Kingdom", "GB", "en-GB", "+44 20", "english"),
    Office("Dublin Docklands", "3 Hanover Quay", "Dublin", None, "D02 A1B2", "Ireland", "IE", "en-IE", "+353 1", "english"),
    Office("Paris République", "8 rue Béranger", "Paris", "Île-de-France", "75003", "France", "FR", "fr-FR", "+33 1", "french"),
    Office("Madrid Retiro", "Calle de Ibiza 27", "Madrid", None, "28009", "Spain", "ES", "es-ES", "+34 91", "spanish"),
    Office("Lisboa Tejo", "Rua do Açúcar 76", "Lisboa", None, "1950-009", "Portugal", "PT", "pt-PT", "+351 21", "portuguese"),
    Office("São Paulo Paulista", "Av. Ipê 9", "São Paulo", "SP", "01310-100", "Brazil", "BR", "pt-BR", "+55 11", "portuguese"),
    Office("Kraków Wisła", "ul. Długa 14", "Kraków", None, "31-146", "Poland", "PL", "pl-PL", "+48 12", "polish"),
    Office("Praha Vltava", "Národní 25", "Praha", None, "110 00", "Czechia", "CZ", "cs-CZ", "+420 2", "czech"),
    Office("Malmö Öresund", "Östra Varvsgatan 4", "Malmö", None, "211 75", "Sweden", "SE", "sv-SE", "+46 40", "nordic"),
    Office("İstanbul Boğaz", "Büyükdere Cad. 8", "İstanbul", None, "34394", "Türkiye", "TR", "tr-TR", "+90 212", "turkish"),
    Office("Bengaluru Indiranagar", "2 Feet Road", "Bengaluru", "KA", "560038", "India", "IN", "en-IN", "+91 80", "indian"),
    Office(
        "Redmond Creek", "14820 NE 36th Street", "Redmond", "WA", "98052", "United States", "US", "en-US", "+1 425", "english"
    ),
)

# Department, its cost centre, and the titles of the people in it.
_DEPARTMENT_TABLE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Executive", "CC-1000 Executive", ("Chief of Staff", "Executive Assistant")),
    ("Finance", "CC-1100 Finance", ("Accountant", "Controller", "Financial Analyst")),
    ("Human Resources", "CC-1200 People", ("Recruiter", "HR Business Partner", "Payroll Specialist")),
    ("Legal & Compliance", "CC-1300 Legal", ("Counsel", "Compliance Officer", "Paralegal")),
    ("Information Technology", "CC-2000 IT", ("Systems Engineer", "Service Desk Analyst", "Network Engineer")),
    ("Information Security", "CC-2100 Security", ("Security Analyst", "Identity Engineer", "Risk Officer")),
    ("Research", "CC-3000 Research", ("Researcher", "Lab Technician", "Principal Scientist")),
    ("Product Management", "CC-3100 Product", ("Product Owner", "Product Analyst")),
    ("Software Engineering", "CC-3200 Software", ("Software Engineer", "Senior Software Engineer", "Test Engineer")),
    ("Hardware Engineering", "CC-3300 Hardware", ("Electrical Engineer", "Mechanical Engineer")),
    ("Quality Assurance", "CC-3400 Quality", ("Quality Engineer", "Auditor")),
    ("Manufacturing", "CC-4000 Manufacturing", ("Machine Operator", "Shift Lead", "Process Engineer")),
    ("Supply Chain", "CC-4100 Supply", ("Planner", "Buyer", "Warehouse Associate")),
    ("Logistics", "CC-4200 Logistics", ("Dispatcher", "Driver", "Customs Specialist")),
    ("Sales", "CC-5000 Sales", ("Account Executive", "Sales Engineer", "Inside Sales Representative")),
    ("Marketing", "CC-5100 Marketing", ("Campaign Specialist", "Copywriter", "Designer")),
    ("Customer Success", "CC-5200 Customers", ("Customer Success Specialist", "Trainer")),
    ("Technical Support", "CC-5300 Support", ("Support Engineer", "Escalation Engineer")),
    ("Facilities", "CC-6000 Facilities", ("Facilities Coordinator", "Electrician", "Receptionist")),
    ("Communications", "CC-6100 Communications", ("Press Officer", "Editor")),
)

DEPARTMENTS: list[str] = [name for name, _, _ in _DEPARTMENT_TABLE]
LOCATIONS: list[str] = [office.name for office in OFFICES]
COMPANIES: list[str] = ["Contoso Ltd", "Contoso Deutschland GmbH", "Contoso Ibérica S.A.", "Contoso Americas, Inc."]
COST_CENTERS: list[str] = [cost_center for _, cost_center, _ in _DEPARTMENT_TABLE]
JOB_TITLES: dict[str, tuple[str, ...]] = {name: titles for name, _, titles in _DEPARTMENT_TABLE}
COST_CENTER_OF: dict[str, str] = {name: cost_center for name, cost_center, _ in _DEPARTMENT_TABLE}
COMPANY_OF_COUNTRY: dict[str, str] = {
    "DE": COMPANIES[1],
    "CH": COMPANIES[1],
    "ES": COMPANIES[2],
    "PT": COMPANIES[2],
    "BR": COMPANIES[3],
    "US": COMPANIES[3],
}
