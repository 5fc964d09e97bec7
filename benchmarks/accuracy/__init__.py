"""How well private prompt tuning classifies: methods, engines in the clear, tasks, settings explored."""
