"""What a run can say: YAML option groups, and the schema that types them. Imports no other room."""
