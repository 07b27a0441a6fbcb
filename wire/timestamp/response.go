package timestamp

import (
	"math/bits"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
)

// statusRejection is PKIStatus rejection, 0 is granted (RFC 3161 §2.4.2).
const statusRejection = 2

// noFailure: the response states no reason.
const noFailure Failure = -1

// Response is a TimeStampResp (RFC 3161 §2.4.2).
type Response struct {
	// Status is PKIStatus: 0 granted, 1 granted with changes, 2 rejected, …
	Status int
	// Text says more, for people; the authority's words, not to be trusted.
	Text []string
	// Failures are the reasons of a rejection, in the order of their numbers.
	Failures []Failure
	// Token is the DER of the timeStampToken, nil unless granted.
	Token []byte
}

// Reject makes the response to a request that is refused for a reason.
func Reject(reason Failure, text string) Response {
	return Response{Status: statusRejection, Text: []string{text}, Failures: []Failure{reason}}
}

// ParseResponse reads a DER TimeStampResp of at most [MaxResponse] bytes and does
// not look into its token; [Parse] does.
func ParseResponse(der []byte) (Response, error) {
	var r Response
	if len(der) > MaxResponse {
		return r, sigbox.Errorf(sigbox.TooLarge, "timestamp of %d bytes: at most %d are read", len(der), MaxResponse)
	}
	in := cryptobyte.String(der)
	var seq, status cryptobyte.String
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1(&status, asn1.SEQUENCE) {
		return r, malformed("TimeStampResp")
	}
	if err := r.readStatus(status); err != nil {
		return r, err
	}
	if !seq.Empty() && !seq.ReadASN1Element((*cryptobyte.String)(&r.Token), asn1.SEQUENCE) || !seq.Empty() {
		return r, malformed("timeStampToken")
	}
	return r, nil
}

// readStatus reads PKIStatusInfo.
func (r *Response) readStatus(s cryptobyte.String) error {
	if !s.ReadASN1Integer(&r.Status) || r.Status < 0 || r.Status > 5 {
		return malformed("status")
	}
	var texts, text cryptobyte.String
	var has bool
	if !s.ReadOptionalASN1(&texts, &has, asn1.SEQUENCE) || has && texts.Empty() {
		return malformed("statusString")
	}
	for !texts.Empty() {
		if len(r.Text) == 8 || !texts.ReadASN1(&text, asn1.UTF8String) {
			return malformed("statusString")
		}
		r.Text = append(r.Text, string(text))
	}
	if !s.Empty() && !r.readFailures(&s) || !s.Empty() {
		return malformed("failInfo")
	}
	return nil
}

// readFailures reads PKIFailureInfo, a BIT STRING with named bits and so without
// trailing zeros (X.690 §11.2.2); at most 32 bits are read.
func (r *Response) readFailures(s *cryptobyte.String) bool {
	var v cryptobyte.String
	if !s.ReadASN1(&v, asn1.BIT_STRING) || len(v) < 2 || len(v) > 5 {
		return false
	}
	unused, set := int(v[0]), v[1:]
	if unused != bits.TrailingZeros8(set[len(set)-1]) || unused == 8 {
		return false
	}
	for i := range 8 * len(set) {
		if set[i/8]&(0x80>>(i%8)) != 0 {
			r.Failures = append(r.Failures, Failure(i))
		}
	}
	return true
}

// granted turns a response without a token into an error. "Granted with changes"
// is not what was asked for, and refused as well.
func (r Response) granted() error {
	if r.Status == 0 {
		if r.Token == nil {
			return malformed("timeStampToken")
		}
		return nil
	}
	reason := noFailure
	if len(r.Failures) > 0 {
		reason = r.Failures[0]
	}
	return sigbox.Errorf(sigbox.Denied, "the timestamp authority did not grant the request: status %d, %w, %.200q", r.Status, reason, strings.Join(r.Text, "; "))
}

// Marshal writes r as DER.
func (r Response) Marshal() []byte {
	status := appendTLV(nil, asn1.INTEGER, []byte{byte(r.Status)})
	if len(r.Text) > 0 {
		var texts []byte
		for _, s := range r.Text {
			texts = appendTLV(texts, asn1.UTF8String, []byte(s))
		}
		status = appendTLV(status, asn1.SEQUENCE, texts)
	}
	if len(r.Failures) > 0 {
		status = appendTLV(status, asn1.BIT_STRING, failureBits(r.Failures))
	}
	return appendTLV(nil, asn1.SEQUENCE, appendTLV(nil, asn1.SEQUENCE, status), r.Token)
}

// failureBits is the contents of PKIFailureInfo; reasons beyond 31 are left out.
func failureBits(failures []Failure) []byte {
	var set uint32
	for _, f := range failures {
		set |= 0x80000000 >> uint(f)
	}
	b := []byte{0}
	for ; set != 0; set <<= 8 {
		b = append(b, byte(set>>24))
	}
	b[0] = byte(bits.TrailingZeros8(b[len(b)-1]) % 8)
	return b
}
