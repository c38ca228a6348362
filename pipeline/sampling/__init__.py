"""Who reads which sample when: integers in, integers out."""
