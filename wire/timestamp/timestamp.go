// Package timestamp reads, writes and verifies RFC 3161 timestamps: requests,
// responses, and the CMS (RFC 5652) tokens in them.
//
// It takes DER only and no more of CMS than timestamps need: one signer, signed
// attributes, SHA-256, SHA-384 and SHA-512, ECDSA and RSA. What a response claims
// is read with [Parse]; it is believed only after [Authority.Verify]:
//
//	a, err := timestamp.NewAuthority(root.TimestampAuthorities[0])
//	…
//	at, err := a.Verify(response, signature)
//
// In Sigstore a timestamp is over the bytes of a signature, so the message
// imprint is a hash of the signature and not of the artifact.
//
// Specifications: RFC 3161, RFC 5816 (ESSCertIDv2), RFC 5652 (CMS), RFC 5754
// (SHA-2 in CMS).
package timestamp

import (
	"github.com/sigbox/sigbox"
)

// The largest inputs that are read, in bytes.
const (
	// MaxRequest bounds a DER request. Without extensions, which no authority
	// here takes, a request has fewer than 250 bytes.
	MaxRequest = 4 << 10
	// MaxJSONRequest bounds a JSON request.
	MaxJSONRequest = 1 << 10
	// MaxResponse bounds a response, embedded certificates included.
	MaxResponse = 64 << 10
)

// Object identifiers as the contents octets of their DER encoding.
const (
	oidSignedData    = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"         // 1.2.840.113549.1.7.2, RFC 5652 §5.1
	oidTSTInfo       = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04" // 1.2.840.113549.1.9.16.1.4, RFC 3161 §2.4.2
	oidContentType   = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03"         // 1.2.840.113549.1.9.3, RFC 5652 §11.1
	oidMessageDigest = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04"         // 1.2.840.113549.1.9.4, RFC 5652 §11.2
	oidSigningCertV1 = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x0c" // 1.2.840.113549.1.9.16.2.12, RFC 2634 §5.4
	oidSigningCertV2 = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x2f" // 1.2.840.113549.1.9.16.2.47, RFC 5035 §3

	oidSHA256 = "\x60\x86\x48\x01\x65\x03\x04\x02\x01" // 2.16.840.1.101.3.4.2.1, RFC 5754 §2
	oidSHA384 = "\x60\x86\x48\x01\x65\x03\x04\x02\x02"
	oidSHA512 = "\x60\x86\x48\x01\x65\x03\x04\x02\x03"

	oidRSA             = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" // 1.2.840.113549.1.1.1, RFC 5754 §3.2
	oidSHA256WithRSA   = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"
	oidSHA384WithRSA   = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"
	oidSHA512WithRSA   = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"
	oidECDSAWithSHA256 = "\x2a\x86\x48\xce\x3d\x04\x03\x02" // 1.2.840.10045.4.3.2, RFC 5754 §3.3
	oidECDSAWithSHA384 = "\x2a\x86\x48\xce\x3d\x04\x03\x03"
	oidECDSAWithSHA512 = "\x2a\x86\x48\xce\x3d\x04\x03\x04"
)

// hashOID gives the object identifier of h, which must be valid.
func hashOID(h sigbox.HashAlgorithm) string {
	return [...]string{sigbox.SHA256: oidSHA256, sigbox.SHA384: oidSHA384, sigbox.SHA512: oidSHA512}[h]
}

// hashByOID finds a supported hash.
func hashByOID(oid string) (sigbox.HashAlgorithm, bool) {
	switch oid {
	case oidSHA256:
		return sigbox.SHA256, true
	case oidSHA384:
		return sigbox.SHA384, true
	case oidSHA512:
		return sigbox.SHA512, true
	}
	return 0, false
}

// Failure is a reason to reject a request, PKIFailureInfo of RFC 3161 §2.4.2. It
// is in the chain of errors that the protocol has a word for, to be found with
// errors.AsType[Failure].
type Failure int

// The reasons; the numbers are those of the wire.
const (
	BadAlgorithm        Failure = 0
	BadRequest          Failure = 2
	BadDataFormat       Failure = 5
	TimeNotAvailable    Failure = 14
	UnacceptedPolicy    Failure = 15
	UnacceptedExtension Failure = 16
	AddInfoNotAvailable Failure = 17
	SystemFailure       Failure = 25
)

// Error names the reason, so that a Failure can be the cause of an error.
func (f Failure) Error() string {
	switch f {
	case BadAlgorithm:
		return "unrecognized or unsupported algorithm"
	case BadRequest:
		return "transaction not permitted or supported"
	case BadDataFormat:
		return "data in the wrong format"
	case TimeNotAvailable:
		return "time source not available"
	case UnacceptedPolicy:
		return "policy not supported"
	case UnacceptedExtension:
		return "extension not supported"
	case AddInfoNotAvailable:
		return "additional information not available"
	case SystemFailure:
		return "system failure"
	}
	return "reason not stated"
}
