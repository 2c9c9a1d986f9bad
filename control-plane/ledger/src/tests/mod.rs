//! Rules, one by one, and properties over random histories.
