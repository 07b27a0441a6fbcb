package store

// PrepareWith is Prepare with another table of migrations.
var PrepareWith = prepare
