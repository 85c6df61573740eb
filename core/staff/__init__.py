"""Who works here and what they may see: users, teams, access, audit, absences."""
