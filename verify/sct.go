package verify

import (
	"crypto/sha256"
	"crypto/x509"
	"math"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// promise is an SCT that was found good.
type promise struct {
	log, operator string
	id            [sha256.Size]byte
	at            time.Time
}

// promises checks the SCTs in a certificate. Those of logs that the root does
// not list count for nothing; of those that it does each must verify.
func (r *root) promises(l *leaf, issuer *x509.Certificate) ([]promise, error) {
	if len(r.ctLogs) == 0 {
		return nil, nil
	}
	scts, err := cert.SCTList(l.cert)
	if err != nil {
		return nil, refuseFor(StepSCT, err)
	}
	var out []promise
	for i := range scts {
		logs := r.ctLogsOf(scts[i].LogID[:])
		if len(logs) == 0 {
			continue
		}
		p, err := promised(logs, &scts[i], l, issuer)
		if err != nil {
			return nil, refuseFor(StepSCT, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// promised checks an SCT with one of the listings of its log: a root may list a
// key more than once, for different times.
func promised(logs []*ctLog, s *cert.SCT, l *leaf, issuer *x509.Certificate) (promise, error) {
	if s.Timestamp > math.MaxInt64 {
		return promise{}, sigbox.Errorf(sigbox.NotVerified, "the timestamp %d is out of range", s.Timestamp)
	}
	at := time.UnixMilli(int64(s.Timestamp)).UTC()
	var first error
	for _, log := range logs {
		err := cert.VerifySCT(*s, l.cert.Raw, issuer.RawSubjectPublicKeyInfo, log.key)
		if err == nil && !log.ValidFor.Contains(at) {
			err = sigbox.Errorf(sigbox.NotVerified, "the trust root lists the log %s %s, the SCT is of %s", log.BaseURL, period(log.ValidFor), stamp(at))
		}
		if err == nil {
			return promise{log.BaseURL, log.operator, s.LogID, at}, nil
		}
		if first == nil {
			first = err
		}
	}
	return promise{}, first
}

// strangers reports whether the certificate has SCTs of logs that the trust root does not
// list.
func (t *trial) strangers() bool {
	if t.signer.leaf == nil {
		return false
	}
	scts, _ := cert.SCTList(t.signer.leaf.cert) // a list that cannot be read was refused
	return len(scts) > len(t.promises)
}
