package trust

import (
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// ParseSigningConfig reads a signing configuration of version 0.2. Version 0.1
// cannot say which services to use, and is refused by name.
func ParseSigningConfig(b []byte) (*sigbox.SigningConfig, error) {
	out := new(sigbox.SigningConfig)
	err := protojson.Decode("signing config", b, MaxSize, func(d *protojson.Decoder) error {
		return configReader{rootReader{d}}.config(out)
	})
	if err != nil {
		return nil, err
	}
	if err := checkConfigType(out.MediaType); err != nil {
		return nil, err
	}
	return out, nil
}

func checkConfigType(mediaType string) error {
	switch mediaType {
	case MediaTypeSigningConfigV02:
		return nil
	case mediaTypeSigningConfigV01:
		return sigbox.Mismatch(sigbox.Invalid, "signing config: unsupported version", "0.2", "0.1").WithHint("ask whoever runs the instance for signing_config.v0.2.json")
	}
	return sigbox.Errorf(sigbox.Invalid, "signing config: unknown media type %.80q: expected %s", mediaType, MediaTypeSigningConfigV02)
}

type configReader struct{ rootReader }

func (r configReader) config(out *sigbox.SigningConfig) error {
	return r.Object(func(field string) (err error) {
		switch field {
		case "mediaType":
			// Judged here, before members of another version look unknown.
			if out.MediaType, err = r.String(maxText); err == nil {
				err = checkConfigType(out.MediaType)
			}
		case "caUrls":
			out.CAs, err = r.services()
		case "oidcUrls":
			out.OIDC, err = r.services()
		case "rekorTlogUrls":
			out.Logs, err = r.services()
		case "tsaUrls":
			out.TSAs, err = r.services()
		case "rekorTlogConfig":
			out.LogSelector, err = r.selector()
		case "tsaConfig":
			out.TSASelector, err = r.selector()
		}
		return err
	}, "mediaType", "caUrls", "oidcUrls", "rekorTlogUrls", "rekorTlogConfig", "tsaUrls", "tsaConfig")
}

func (r configReader) services() (out []sigbox.Service, err error) {
	err = r.Array(maxServices, func() error {
		s, err := r.service()
		out = append(out, s)
		return err
	})
	return out, err
}

func (r configReader) service() (sigbox.Service, error) {
	var s sigbox.Service
	err := r.Object(func(field string) (err error) {
		switch field {
		case "url":
			s.URL, err = r.String(maxText)
		case "majorApiVersion":
			var v int64
			v, err = r.Natural(maxVersion)
			s.MajorAPIVersion = int(v)
		case "validFor":
			s.ValidFor, err = r.timeRange()
		case "operator":
			s.Operator, err = r.String(maxText)
		}
		return err
	}, "url", "majorApiVersion", "validFor", "operator")
	if err == nil && s.URL == "" {
		err = r.Errorf("the service has no URL")
	}
	return s, err
}

// The modes of a selector, by their numbers in sigstore_trustroot.proto.
func modes() [4]string { return [...]string{"SERVICE_SELECTOR_UNDEFINED", "ALL", "ANY", "EXACT"} }

func (r configReader) selector() (sigbox.Selector, error) {
	var s sigbox.Selector
	err := r.Object(func(field string) (err error) {
		if field == "selector" {
			s.Mode, err = r.mode()
			return err
		}
		v, err := r.Natural(maxServices)
		s.Count = int(v)
		return err
	}, "selector", "count")
	return s, err
}

func (r configReader) mode() (string, error) {
	name, number, err := r.Enum()
	if err != nil {
		return "", err
	}
	for i, m := range modes() {
		if i > 0 && (name == m || name == "" && number == int64(i)) {
			return m, nil
		}
	}
	return "", r.Errorf("unknown selector %.40q (%d): expected ALL, ANY or EXACT", name, number)
}

// AppendSigningConfig writes a signing configuration of version 0.2. The error
// is of kind Invalid when a service lacks its URL or version, or a selector is
// none of ALL, ANY and EXACT.
func AppendSigningConfig(dst []byte, c *sigbox.SigningConfig) ([]byte, error) {
	if c.MediaType != "" {
		if err := checkConfigType(c.MediaType); err != nil {
			return nil, err
		}
	}
	if err := checkConfig(c); err != nil {
		return nil, err
	}
	e := protojson.NewEncoder(dst)
	e.Document(func() {
		e.String("mediaType", MediaTypeSigningConfigV02)
		appendServices(e, "caUrls", c.CAs)
		appendServices(e, "oidcUrls", c.OIDC)
		appendServices(e, "rekorTlogUrls", c.Logs)
		appendSelector(e, "rekorTlogConfig", c.LogSelector)
		appendServices(e, "tsaUrls", c.TSAs)
		appendSelector(e, "tsaConfig", c.TSASelector)
	})
	return e.Done(), nil
}

func checkConfig(c *sigbox.SigningConfig) error {
	for _, s := range slices.Concat(c.CAs, c.OIDC, c.Logs, c.TSAs) {
		if s.URL == "" || s.MajorAPIVersion < 1 {
			return sigbox.Errorf(sigbox.Invalid, "signing config: service %.80q of version %d: expected a URL and a version of 1 or more", s.URL, s.MajorAPIVersion)
		}
	}
	for _, s := range []sigbox.Selector{c.LogSelector, c.TSASelector} {
		if s.Mode != "" && !slices.Contains([]string{"ALL", "ANY", "EXACT"}, s.Mode) {
			return sigbox.Errorf(sigbox.Invalid, "signing config: unknown selector %.40q: expected ALL, ANY or EXACT", s.Mode)
		}
	}
	return nil
}

func appendServices(e *protojson.Encoder, field string, services []sigbox.Service) {
	if len(services) == 0 {
		return
	}
	e.Array(field, func() {
		for _, s := range services {
			e.Object("", func() {
				e.String("url", strings.TrimRight(s.URL, "/"))
				e.Int("majorApiVersion", s.MajorAPIVersion)
				appendRange(e, s.ValidFor)
				e.String("operator", s.Operator)
			})
		}
	})
}

func appendSelector(e *protojson.Encoder, field string, s sigbox.Selector) {
	if s.Mode == "" {
		return
	}
	e.Object(field, func() {
		e.String("selector", s.Mode)
		if s.Mode == "EXACT" {
			e.Int("count", s.Count)
		}
	})
}

// Select chooses services as sigstore_trustroot.proto tells clients to: of the
// versions that the caller speaks the highest that is on offer now, of each
// operator the service that started last, and of those all, the one that started
// last (ANY) or sel.Count (EXACT), newest first. For CAs and OpenID providers,
// of which one is used, sel is ANY.
//
// The error is of kind NotFound when too few services fit, Invalid when sel is
// none.
func Select(services []sigbox.Service, sel sigbox.Selector, now time.Time, versions []int) ([]sigbox.Service, error) {
	fit := newestOfEach(services, now, versions)
	if len(fit) == 0 {
		return nil, sigbox.Errorf(sigbox.NotFound, "signing config: none of %d services speaks version %v and is valid on %s", len(services), versions, now.UTC().Format(time.RFC3339)).
			WithHint("refresh the instance's trust, or check the clock")
	}
	switch sel.Mode {
	case "ALL":
		return fit, nil
	case "ANY":
		return fit[:1], nil
	case "EXACT":
		if sel.Count < 1 {
			return nil, sigbox.Errorf(sigbox.Invalid, "signing config: selector EXACT with count %d: expected 1 or more", sel.Count)
		}
		if sel.Count > len(fit) {
			return nil, sigbox.Errorf(sigbox.NotFound, "signing config: %d services of distinct operators are demanded, %d are valid", sel.Count, len(fit))
		}
		return fit[:sel.Count], nil
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "signing config: unknown selector %.40q: expected ALL, ANY or EXACT", sel.Mode)
}

// newestOfEach gives, newest first, each operator's newest service of the
// highest version that any service valid now has; versions are never mixed.
func newestOfEach(services []sigbox.Service, now time.Time, versions []int) []sigbox.Service {
	best := 0
	for _, s := range services {
		if s.MajorAPIVersion > best && slices.Contains(versions, s.MajorAPIVersion) && s.ValidFor.Contains(now) {
			best = s.MajorAPIVersion
		}
	}
	var fit []sigbox.Service
	for _, s := range services {
		if best > 0 && s.MajorAPIVersion == best && s.ValidFor.Contains(now) {
			fit = append(fit, s)
		}
	}
	slices.SortStableFunc(fit, func(a, b sigbox.Service) int { return b.ValidFor.Start.Compare(a.ValidFor.Start) })
	seen := make(map[string]bool)
	return slices.DeleteFunc(fit, func(s sigbox.Service) bool {
		twice := seen[s.Operator]
		seen[s.Operator] = true
		return twice
	})
}
