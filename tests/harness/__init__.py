"""What tests of the whole system stand on; no test lives here."""
