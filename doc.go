// Package sigbox holds the nouns of the project and the small interfaces at
// which its parts meet: digests, keys, bundles, log entries, checkpoints, trust
// roots, identities, policies and errors.
//
// It imports the standard library only. Bytes become these values in wire/…,
// services make them in internal/…, and the verify package judges them. The
// floors of the house are drawn in docs/architecture.md and held by a test
// beside this file.
//
// The formats are Sigstore's: https://github.com/sigstore/protobuf-specs and
// https://github.com/sigstore/architecture-docs.
package sigbox
