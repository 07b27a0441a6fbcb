package sigbox

import "time"

// TrustedRoot lists the authorities that signatures are judged against.
//
// Source: protobuf-specs, sigstore_trustroot.proto, TrustedRoot.
type TrustedRoot struct {
	// MediaType is as found, or as it is to be written.
	MediaType              string
	Logs                   []TransparencyLog
	CertificateAuthorities []CertificateAuthority
	CTLogs                 []TransparencyLog
	TimestampAuthorities   []CertificateAuthority
}

// TransparencyLog is a Rekor or CT log and the key that it signs with.
type TransparencyLog struct {
	BaseURL string
	// Operator says who runs it; thresholds count operators. May be empty.
	Operator string
	// HashAlgorithm of the Merkle tree.
	HashAlgorithm HashAlgorithm
	// PublicKey is a DER SubjectPublicKeyInfo.
	PublicKey []byte
	Details   KeyDetails
	ValidFor  TimeRange
	// LogID is the key ID by which entries and SCTs name the log.
	LogID []byte
	// CheckpointKeyID is the key ID of the log's checkpoints (C2SP signed-note,
	// usually 4 bytes) where a root of version 0.2 states it.
	CheckpointKeyID []byte
}

// CertificateAuthority is a chain that certificates or timestamps lead to.
type CertificateAuthority struct {
	Organization, CommonName string
	URI                      string
	Operator                 string
	// Chain is DER: for a CA intermediates and then the self-signed root, for a
	// timestamp authority the leaf first.
	Chain    [][]byte
	ValidFor TimeRange
}

// TimeRange is a span with both ends included. A zero Start or End is open.
type TimeRange struct {
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
}

// Equal reports whether r and o are the same span.
func (r TimeRange) Equal(o TimeRange) bool { return r.Start.Equal(o.Start) && r.End.Equal(o.End) }

// IsZero reports whether r is open at both ends.
func (r TimeRange) IsZero() bool { return r.Start.IsZero() && r.End.IsZero() }

// Contains reports whether t lies in the range.
func (r TimeRange) Contains(t time.Time) bool {
	return (r.Start.IsZero() || !t.Before(r.Start)) && (r.End.IsZero() || !t.After(r.End))
}

// SigningConfig tells a signer which services to use.
//
// Source: protobuf-specs, sigstore_trustroot.proto, SigningConfig (v0.2).
type SigningConfig struct {
	MediaType                string
	CAs, OIDC, Logs, TSAs    []Service
	LogSelector, TSASelector Selector
}

// Service is one endpoint of a [SigningConfig].
type Service struct {
	URL             string
	MajorAPIVersion int
	ValidFor        TimeRange
	Operator        string
}

// Selector says how many services of a kind to use.
type Selector struct {
	// Mode is "ALL", "ANY" or "EXACT".
	Mode string
	// Count is how many, for EXACT.
	Count int
}
