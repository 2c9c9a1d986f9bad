"""Bodies that are good: what a schema cannot say (times in order, ids of the same clinic, numbers that check
themselves), so that some requests get behind the rules. The others stay what the fuzzer thought of."""

import datetime


def _at(dice, days):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(
        days=days, minutes=15 * dice.randrange(96))
    return moment.replace(second=0, microsecond=0)


def _text(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _slot(dice):
    starts = _at(dice, dice.randint(2, 150))
    return {"starts_at": _text(starts), "ends_at": _text(starts + datetime.timedelta(minutes=15))}


def _word(dice):
    return f"{dice.getrandbits(40):010x}"


KEY = {"kty": "EC", "crv": "P-256", "x": "YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y",
       "y": "eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk"}

# Operation to what makes its body, of a chooser of real ids and of dice.
BODIES = {
    "appointment_create": lambda real, dice: {
        "patient_id": real("patients"), "clinician_id": real("clinicians"), "reason": "a cough", **_slot(dice)},
    "appointment_update": lambda real, dice: dice.choice([{"reason": _word(dice)}, _slot(dice)]),
    "appointment_cancel": lambda real, dice: {"reason": "moved"},
    "break_glass_open": lambda real, dice: {"reason": "an emergency at the door"},
    "break_glass_review": lambda real, dice: {"finding": dice.choice(["justified", "unjustified"])},
    "care_team_add": lambda real, dice: {"person_id": real("clinicians"), "role": "clinician"},
    "clinic_update": lambda real, dice: {"self_registration": True},
    "client_update": lambda real, dice: {"name": "A system"},
    "consent_record": lambda real, dice: {
        "purpose": "treatment", "segment": "general", "decision": dice.choice(["granted", "withdrawn"]),
        "signed_by": "paper", "document": f"Paper {_word(dice)}, in the binder"},
    "correction_create": lambda real, dice: {"what": f"My allergy {_word(dice)}", "why": "It is another one"},
    "correction_decline": lambda real, dice: {"reason": "It is right as it is"},
    "correction_disagree": lambda real, dice: {"statement": "It is not"},
    "credential_submit": lambda real, dice: {
        "kind": "license", "profession": dice.choice(["clinician", "nurse", "pharmacist"]), "state": "NY",
        "number": f"A-{dice.randrange(10**6)}", "expires_on": "2030-06-30"},
    "credential_reject": lambda real, dice: {"reason": "Not to be found"},
    "disclosure_create": lambda real, dice: {
        "disclosed_at": _text(_at(dice, -3)), "recipient": "A court", "description": "A record",
        "purpose": "An order", "basis": "judicial"},
    "invitation_create": lambda real, dice: {
        "display_name": "Somebody", "email": f"{_word(dice)}@demo.example", "roles": ["patient"]},
    "message_create": lambda real, dice: {"body": f"Hello {_word(dice)}"},
    "oidc_provider_set": lambda real, dice: {
        "issuer": "https://login.example.org", "client_id": "medmesh", "client_secret": _word(dice),
        "second_factor": [], "enabled": False},
    "participant_add": lambda real, dice: {"person_id": real("clinicians")},
    "patient_search": lambda real, dice: {"q": dice.choice(["amara", "tomas rivera", "okafor"])},
    "person_create": lambda real, dice: {
        "display_name": "Somebody", "email": f"{_word(dice)}@demo.example", "roles": ["patient"],
        "password": f"{_word(dice)} {_word(dice)}"},
    "person_update": lambda real, dice: {"active": True},
    "privacy_officer_set": lambda real, dice: {"person_id": real("admins")},
    "record_export_create": lambda real, dice: {},
    "record_rights_set": lambda real, dice: {"restricted": dice.choice([True, False]), "erasure": False},
    "referral_create": lambda real, dice: {"to_id": real("clinicians"), "reason": "A second look"},
    "registration_request": lambda real, dice: {"clinic_id": real("clinics"), "email": f"{_word(dice)}@demo.example"},
    "reset_request": lambda real, dice: {"email": f"{_word(dice)}@demo.example"},
    "signaling_session": lambda real, dice: {"visit_id": real("visits"), "probes": [], "key": KEY},
    "visit_admit": lambda real, dice: {"participant_id": real("participants")},
    # The operator's.
    "raft_add_learner": lambda real, dice: {"node": dice.randint(1000, 1020), "link_address": "127.0.0.1:9"},
    "raft_promote": lambda real, dice: {"node": dice.randint(1000, 1020)},
    "raft_remove": lambda real, dice: {"node": dice.randint(1000, 1020)},
    "join_token_create": lambda real, dice: {"life_seconds": 60},
    "key_rotate": lambda real, dice: {"subject": {"level": dice.choice(["root", "system"])}},
    "key_restored": lambda real, dice: {"clinic_id": real("clinics")},
}
