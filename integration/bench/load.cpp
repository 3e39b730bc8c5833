// Placeholder until the load generator lands.
int main() { return 0; }
