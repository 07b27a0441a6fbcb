package trust

import (
	"bytes"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// ParseRoot reads a trusted root. Logs whose key or algorithm sigbox does not
// know are kept with Details 0, so that one new log does not spoil a root.
func ParseRoot(b []byte) (*sigbox.TrustedRoot, error) {
	out := new(sigbox.TrustedRoot)
	err := protojson.Decode("trusted root", b, MaxSize, func(d *protojson.Decoder) error {
		return rootReader{d}.root(out)
	})
	if err != nil {
		return nil, err
	}
	if err := checkRootType(out.MediaType); err != nil {
		return nil, err
	}
	return out, nil
}

// ParseRoots reads a file that holds one trusted root, or one a line as GitHub
// hands them out. Errors name the line.
func ParseRoots(b []byte) ([]*sigbox.TrustedRoot, error) {
	if len(b) > MaxSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "trusted roots of %d bytes: at most %d are read", len(b), MaxSize)
	}
	one, err := ParseRoot(b)
	if err == nil {
		return []*sigbox.TrustedRoot{one}, nil
	}
	var out []*sigbox.TrustedRoot
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		root, lineErr := ParseRoot(line)
		switch {
		case lineErr != nil && len(out) == 0:
			return nil, err // not lines at all: say what is wrong with the whole
		case lineErr != nil:
			return nil, sigbox.Errorf(sigbox.KindOf(lineErr), "line %d: %w", n, lineErr)
		case len(out) == MaxRoots:
			return nil, sigbox.Errorf(sigbox.TooLarge, "more than %d trusted roots in a file", MaxRoots)
		}
		out = append(out, root)
	}
	if len(out) == 0 {
		return nil, err
	}
	return out, nil
}

func checkRootType(mediaType string) error {
	switch mediaType {
	case MediaTypeRootV01, mediaTypeRootV01Dotted, MediaTypeRootV02:
		return nil
	}
	return sigbox.Errorf(sigbox.Invalid, "trusted root: unknown media type %.80q: expected %s or %s", mediaType, MediaTypeRootV01, MediaTypeRootV02)
}

type rootReader struct{ *protojson.Decoder }

func (r rootReader) root(out *sigbox.TrustedRoot) error {
	return r.Object(func(field string) (err error) {
		switch field {
		case "mediaType":
			out.MediaType, err = r.String(maxText)
		case "tlogs":
			out.Logs, err = r.logs()
		case "ctlogs":
			out.CTLogs, err = r.logs()
		case "certificateAuthorities":
			out.CertificateAuthorities, err = r.authorities()
		case "timestampAuthorities":
			out.TimestampAuthorities, err = r.authorities()
		}
		return err
	}, "mediaType", "tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities")
}

func (r rootReader) logs() (out []sigbox.TransparencyLog, err error) {
	err = r.Array(maxInstances, func() error {
		l, err := r.log()
		out = append(out, l)
		return err
	})
	return out, err
}

func (r rootReader) log() (sigbox.TransparencyLog, error) {
	var l sigbox.TransparencyLog
	err := r.Object(func(field string) (err error) {
		switch field {
		case "baseUrl":
			l.BaseURL, err = r.String(maxText)
		case "hashAlgorithm":
			l.HashAlgorithm, err = r.hash()
		case "publicKey":
			err = r.publicKey(&l)
		case "logId":
			l.LogID, err = r.keyID()
		case "checkpointKeyId":
			l.CheckpointKeyID, err = r.keyID()
		case "operator":
			l.Operator, err = r.String(maxText)
		}
		return err
	}, "baseUrl", "hashAlgorithm", "publicKey", "logId", "checkpointKeyId", "operator")
	if err == nil && len(l.PublicKey) == 0 {
		err = r.Errorf("the log has no public key")
	}
	return l, err
}

func (r rootReader) publicKey(l *sigbox.TransparencyLog) error {
	return r.Object(func(field string) (err error) {
		switch field {
		case "rawBytes":
			l.PublicKey, err = r.Bytes(maxKey)
		case "keyDetails":
			l.Details, err = r.details()
		case "validFor":
			l.ValidFor, err = r.timeRange()
		}
		return err
	}, "rawBytes", "keyDetails", "validFor")
}

// details gives 0 for an algorithm that sigbox does not know.
func (r rootReader) details() (sigbox.KeyDetails, error) {
	name, number, err := r.Enum()
	if err != nil {
		return 0, err
	}
	for k := sigbox.KeyDetails(1); k < 64; k++ {
		if k.Valid() && (name == k.String() || name == "" && number == int64(k)) {
			return k, nil
		}
	}
	return 0, nil
}

// hash gives 0 for an algorithm that sigbox does not know.
func (r rootReader) hash() (sigbox.HashAlgorithm, error) {
	name, number, err := r.Enum()
	if err != nil {
		return 0, err
	}
	for h := sigbox.SHA256; h <= sigbox.SHA512; h++ {
		if name == h.WireName() || name == "" && number == int64(h) {
			return h, nil
		}
	}
	return 0, nil
}

func (r rootReader) keyID() (id []byte, err error) {
	err = r.Object(func(string) (err error) {
		id, err = r.Bytes(maxKeyID)
		return err
	}, "keyId")
	return id, err
}

func (r rootReader) timeRange() (sigbox.TimeRange, error) {
	var v sigbox.TimeRange
	err := r.Object(func(field string) (err error) {
		if field == "start" {
			v.Start, err = r.Time()
		} else {
			v.End, err = r.Time()
		}
		return err
	}, "start", "end")
	if err == nil && !v.Start.IsZero() && !v.End.IsZero() && v.End.Before(v.Start) {
		err = r.Errorf("the validity ends before it starts")
	}
	return v, err
}

func (r rootReader) authorities() (out []sigbox.CertificateAuthority, err error) {
	err = r.Array(maxInstances, func() error {
		ca, err := r.authority()
		out = append(out, ca)
		return err
	})
	return out, err
}

func (r rootReader) authority() (sigbox.CertificateAuthority, error) {
	var ca sigbox.CertificateAuthority
	err := r.Object(func(field string) (err error) {
		switch field {
		case "subject":
			err = r.subject(&ca)
		case "uri":
			ca.URI, err = r.String(maxText)
		case "certChain":
			ca.Chain, err = r.chain()
		case "validFor":
			ca.ValidFor, err = r.timeRange()
		case "operator":
			ca.Operator, err = r.String(maxText)
		}
		return err
	}, "subject", "uri", "certChain", "validFor", "operator")
	if err == nil && len(ca.Chain) == 0 {
		err = r.Errorf("the authority has no certificates")
	}
	return ca, err
}

func (r rootReader) subject(ca *sigbox.CertificateAuthority) error {
	return r.Object(func(field string) (err error) {
		if field == "organization" {
			ca.Organization, err = r.String(maxText)
		} else {
			ca.CommonName, err = r.String(maxText)
		}
		return err
	}, "organization", "commonName")
}

func (r rootReader) chain() (chain [][]byte, err error) {
	err = r.Object(func(string) error {
		return r.Array(maxCertificates, func() error {
			return r.Object(func(string) error {
				der, err := r.Bytes(maxCertificate)
				chain = append(chain, der)
				return err
			}, "rawBytes")
		})
	}, "certificates")
	return chain, err
}

// AppendRoot writes a trusted root: as 0.2 when its media type says so, else as
// 0.1 with nothing in it that an older client refuses: operators and checkpoint
// key IDs are left out. Slashes at the end of URLs are left out too.
//
// The error is of kind Invalid when an authority lacks what readers need.
func AppendRoot(dst []byte, root *sigbox.TrustedRoot) ([]byte, error) {
	w := rootWriter{Encoder: protojson.NewEncoder(dst), full: root.MediaType == MediaTypeRootV02}
	if !w.full && root.MediaType != "" {
		if err := checkRootType(root.MediaType); err != nil {
			return nil, err
		}
	}
	if err := checkRoot(root); err != nil {
		return nil, err
	}
	w.Document(func() {
		if w.full {
			w.String("mediaType", MediaTypeRootV02)
		} else {
			w.String("mediaType", MediaTypeRootV01)
		}
		w.logs("tlogs", root.Logs)
		w.authorities("certificateAuthorities", root.CertificateAuthorities)
		w.logs("ctlogs", root.CTLogs)
		w.authorities("timestampAuthorities", root.TimestampAuthorities)
	})
	return w.Done(), nil
}

func checkRoot(root *sigbox.TrustedRoot) error {
	for _, logs := range [][]sigbox.TransparencyLog{root.Logs, root.CTLogs} {
		for _, l := range logs {
			if !l.Details.Valid() || !l.HashAlgorithm.Valid() || len(l.PublicKey) == 0 || len(l.LogID) == 0 {
				return sigbox.Errorf(sigbox.Invalid, "trusted root: log %.80q needs a key with its details, a hash algorithm and a log ID", l.BaseURL)
			}
		}
	}
	for _, cas := range [][]sigbox.CertificateAuthority{root.CertificateAuthorities, root.TimestampAuthorities} {
		for _, ca := range cas {
			if len(ca.Chain) == 0 {
				return sigbox.Errorf(sigbox.Invalid, "trusted root: authority %.80q needs a certificate chain", ca.URI)
			}
		}
	}
	return nil
}

type rootWriter struct {
	*protojson.Encoder
	full bool // 0.2: with operators and checkpoint key IDs
}

func (w rootWriter) logs(field string, logs []sigbox.TransparencyLog) {
	if len(logs) == 0 {
		return
	}
	w.Array(field, func() {
		for i := range logs {
			w.Object("", func() { w.log(&logs[i]) })
		}
	})
}

func (w rootWriter) log(l *sigbox.TransparencyLog) {
	w.String("baseUrl", strings.TrimRight(l.BaseURL, "/"))
	w.String("hashAlgorithm", l.HashAlgorithm.WireName())
	w.Object("publicKey", func() {
		w.Bytes("rawBytes", l.PublicKey)
		w.String("keyDetails", l.Details.String())
		appendRange(w.Encoder, l.ValidFor)
	})
	w.Object("logId", func() { w.Bytes("keyId", l.LogID) })
	if w.full && len(l.CheckpointKeyID) > 0 {
		w.Object("checkpointKeyId", func() { w.Bytes("keyId", l.CheckpointKeyID) })
	}
	w.operator(l.Operator)
}

func (w rootWriter) operator(name string) {
	if w.full && name != "" {
		w.String("operator", name)
	}
}

func (w rootWriter) authorities(field string, cas []sigbox.CertificateAuthority) {
	if len(cas) == 0 {
		return
	}
	w.Array(field, func() {
		for i := range cas {
			w.Object("", func() { w.authority(&cas[i]) })
		}
	})
}

func (w rootWriter) authority(ca *sigbox.CertificateAuthority) {
	w.Object("subject", func() {
		w.String("organization", ca.Organization)
		w.String("commonName", ca.CommonName)
	})
	w.String("uri", strings.TrimRight(ca.URI, "/"))
	w.Object("certChain", func() {
		w.Array("certificates", func() {
			for _, der := range ca.Chain {
				w.Object("", func() { w.Bytes("rawBytes", der) })
			}
		})
	})
	appendRange(w.Encoder, ca.ValidFor)
	w.operator(ca.Operator)
}

// appendRange writes validFor; an open end is left out.
func appendRange(e *protojson.Encoder, v sigbox.TimeRange) {
	e.Object("validFor", func() {
		for _, end := range []struct {
			field string
			at    time.Time
		}{{"start", v.Start}, {"end", v.End}} {
			if !end.at.IsZero() {
				e.Time(end.field, end.at)
			}
		}
	})
}
