// Package cert reads and writes what Sigstore puts into X.509 certificates and
// around them: the identity and build extensions of Fulcio, signed certificate
// timestamps, and the leaves of a Certificate Transparency log.
//
// A verifier asks a leaf who it speaks for and which logs promised to show it:
//
//	id, err := cert.IdentityOf(leaf)
//	scts, err := cert.SCTList(leaf)
//	err = cert.VerifySCT(scts[0], leaf.Raw, issuer.RawSubjectPublicKeyInfo, logKey)
//
// An authority goes the other way with [Extensions], [Poison], [SCTListExtension]
// and [Entry].
//
// Parsing is strict: what is not exactly the format is refused, and what was
// parsed and is written again gives the same bytes.
//
// Specifications: RFC 5280 (certificates), RFC 6962 (Certificate Transparency),
// https://c2sp.org/static-ct-api, and Fulcio's list of extensions,
// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md.
package cert
