"""Identity by OpenID Connect: a provider's documents and answers, and the logins of people by them."""
