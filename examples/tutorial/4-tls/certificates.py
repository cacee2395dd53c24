import trustme

authority = trustme.CA(organization_name="Notes")
authority.cert_pem.write_to_path("ca.pem")

server = authority.issue_cert("localhost", "127.0.0.1")
server.private_key_and_cert_chain_pem.write_to_path("server.pem")

for name in ("ada", "bob"):
    person = authority.issue_cert(f"{name}@example.org", common_name=name)
    person.private_key_and_cert_chain_pem.write_to_path(f"{name}.pem")
