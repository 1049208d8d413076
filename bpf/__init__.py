"""BPF programs in C and the reader that hands their text to a compiler."""
