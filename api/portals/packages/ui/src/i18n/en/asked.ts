/** What somebody was refused, by the route that was asked; tested against the description of the API. */
export const asked: Readonly<Record<string, string>> = {
  appointment_list: "Wanted to look at appointments",
  appointment_create: "Wanted to book an appointment",
  appointment_get: "Wanted to look at an appointment",
  appointment_update: "Wanted to change an appointment",
  appointment_label: "Wanted to change how sensitive an appointment is",
  appointment_cancel: "Wanted to cancel an appointment",
  visit_list: "Wanted to look at visits",
  visit_get: "Wanted to look at a visit",
  visit_check_in: "Wanted to come to the waiting room",
  visit_open: "Wanted to open a visit",
  visit_admit: "Wanted to let somebody into a visit",
  visit_end: "Wanted to end a visit",
  visit_events: "Wanted to follow a visit",
  participant_add: "Wanted to ask somebody into a visit",
  message_list: "Wanted to read messages",
  message_create: "Wanted to write a message",
  signaling_candidates: "Wanted to join a visit",
  signaling_session: "Wanted to join a visit",
  care_team_list: "Wanted to look at the care team",
  care_team_add: "Wanted to join somebody to the care team",
  care_team_end: "Wanted to end somebody’s place on the care team",
  referral_list: "Wanted to look at referrals",
  referral_create: "Wanted to refer to a colleague",
  referral_end: "Wanted to end a referral",
  consent_list: "Wanted to look at consents",
  consent_record: "Wanted to record a consent",
  break_glass_open: "Wanted to open the record in an emergency",
  break_glass_list: "Wanted to look at emergency access",
  break_glass_review: "Wanted to review an emergency access",
  record_access_list: "Wanted to see who saw the record",
  disclosure_list: "Wanted to see what was given outside",
  disclosure_create: "Wanted to note something as given outside",
  record_rights_get: "Wanted to see whether the record is restricted",
  record_rights_set: "Wanted to restrict or erase the record",
};

/** Any other route. */
export const askedOther = "Asked for something of the record";

/** What was missing where somebody was refused, by the word of the decision. */
export const missing: Readonly<Record<string, string>> = {
  role: "A role that may do this",
  credential: "A verified credential",
  purpose: "A purpose that allows it",
  unknown: "The thing itself: it is not there, or not in this clinic",
  relation: "A part in the patient’s care",
  consent: "The patient’s consent",
  restricted: "An open record: it is restricted",
  second_factor: "A second factor",
  step_up: "A fresh confirmation of who they are",
  scope: "A scope that covers it",
};
