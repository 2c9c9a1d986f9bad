//! Pure planner: which edge carries which participant, and why
