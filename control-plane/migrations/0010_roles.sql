-- The people a clinic is made of: those who give care, those who make it possible,
-- and those who look after the system. What each may do is the policy's to say.
ALTER TABLE person_role DROP CONSTRAINT person_role_known;
ALTER TABLE person_role ADD CONSTRAINT person_role_known CHECK (role IN (
    'patient', 'clinician', 'nurse', 'scheduler', 'pharmacist', 'care_coordinator',
    'admin', 'support', 'auditor', 'sre'));
