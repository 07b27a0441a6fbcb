package app

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/limit"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/parts"
	"github.com/sigbox/sigbox/internal/store/s3"
)

// Defaults of [Settings].
const (
	// DefaultListen is where an instance listens unless told otherwise.
	DefaultListen = "127.0.0.1:8080"

	// maxSettings bounds the settings file, in bytes.
	maxSettings = 1 << 20
)

// Settings are what config.yaml holds. Every field may be left out. The command
// line's flags take precedence.
type Settings struct {
	// Listen is the address of the one port, DefaultListen if "". With port 0
	// any free one is taken.
	Listen string `yaml:"listen"`
	// URL is where clients reach the instance, without a path. It is also the
	// name of the built-in OpenID provider, so that it stands in certificates.
	// Derived from Listen if "".
	URL string `yaml:"url"`
	// Only are the roles that this host has, all of them if empty; other hosts of the
	// instance have the others.
	Only []Role `yaml:"only"`
	// Parts are files with what the instance's other hosts have: each is a copy of that
	// host's part.json. They are read again when they change.
	Parts []string `yaml:"parts"`
	// Hosts are other hosts of the instance whose parts are asked for. They are read again
	// when the file changes.
	Hosts []parts.Host `yaml:"hosts"`
	// Published says where clients get the instance's trust root, for a host that does not
	// publish it and is not told by Hosts: before a new key signs it has to be there.
	Published Published `yaml:"published"`
	// Listeners are addresses besides Listen, for some roles alone.
	Listeners []Listener `yaml:"listeners"`
	// Socket says who may connect to the Unix sockets among the addresses.
	Socket Socket `yaml:"socket"`
	// Proxies say whose word is taken for where requests come from.
	Proxies ProxySettings `yaml:"proxies"`
	// Audit says where it is written down what was issued and done.
	Audit AuditSettings `yaml:"audit"`
	// TLS names the certificate files; they are read again when they change.
	TLS TLSFiles `yaml:"tls"`
	// InsecureHTTP allows listening beyond loopback without TLS.
	InsecureHTTP bool `yaml:"insecure-http"`
	// Passphrase says where the passphrase of the key files is: env:NAME,
	// file:PATH or credential:NAME. Keys stand in the clear if "".
	Passphrase string `yaml:"passphrase"`
	// Keys says which keys are kept outside of the data directory, and where.
	Keys KeyPlaces `yaml:"keys"`
	// Issuers are the OpenID issuers whose tokens the CA takes besides those of
	// the built-in provider. They are read again when the file changes.
	Issuers []ca.Issuer `yaml:"issuers"`
	// OneTimeTokens lets an identity token be used for one certificate only, so that one
	// that was overheard afterwards is worth nothing.
	OneTimeTokens bool `yaml:"one-time-tokens"`
	// Providers are CI providers by name, for issuers of the type ci-provider, besides
	// the built-in ones and in the place of those with the same name. They are read
	// again with the issuers.
	Providers map[string]ca.Provider `yaml:"ci-providers"`
	// Login says how people sign in at the built-in provider. It is read again with the
	// issuers.
	Login oidc.Logins `yaml:"login"`
	// RekorV1 has the instance run a log of Rekor v1 beside that of v2; nil is true.
	// Turned off again, the log takes no more entries, and what it has stays
	// readable and trusted.
	RekorV1 *bool `yaml:"rekor-v1"`
	// Anchor is a directory on another disk, or s3://BUCKET/PREFIX, to which the heads
	// of the logs are brought, so that an older copy of the data directory is noticed;
	// none if "".
	Anchor string `yaml:"anchor"`
	// PublishInterval is the time between two checkpoints that are published in
	// the tile directory, 5 s if 0.
	PublishInterval time.Duration `yaml:"publish-interval"`
	// Time says how the machine's clock is watched.
	Time TimeSettings `yaml:"time"`
	// Limits bound what is in flight.
	Limits Limits `yaml:"limits"`
}

// TLSFiles are PEM files: a certificate with its chain, and its key.
type TLSFiles struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Limits bound what is in flight, and what anybody may ask for; 0 is the default.
type Limits struct {
	// Requests in flight at once, 8,192 if 0.
	Requests int64 `yaml:"requests"`
	// BodyBytes held at once over all requests, 64 MiB if 0.
	BodyBytes int64 `yaml:"body-bytes"`
	// ConnectionsPerAddress is how many connections one address may hold at most, of its
	// share of those that are free; all of that if 0. Proxies that are trusted may hold any
	// number.
	ConnectionsPerAddress int `yaml:"connections-per-address"`
	// PerAddress bounds the requests of an address, EntriesPerAddress those that add
	// entries to a transparency log, and CertificatesPerIdentity what one identity is
	// certified. None does if zero. Of IPv6 an address is a network of 64 bits.
	PerAddress              limit.Rate `yaml:"per-address"`
	EntriesPerAddress       limit.Rate `yaml:"entries-per-address"`
	CertificatesPerIdentity limit.Rate `yaml:"certificates-per-identity"`
}

// LoadSettings reads a settings file. An optional one may be missing.
func LoadSettings(path string, optional bool) (Settings, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && optional {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, sigbox.Errorf(sigbox.Invalid, "cannot read the settings: %w", err).WithHint("they are in DIR/config.yaml or the file of --config, and this user must be able to read them")
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err != nil {
		return Settings{}, sigbox.Errorf(sigbox.Invalid, "cannot read the settings: %w", err)
	}
	s, err := ParseSettings(b)
	if err != nil {
		return Settings{}, sigbox.Errorf(sigbox.Invalid, "%s: %w", path, err)
	}
	return s, nil
}

// ParseSettings reads settings from YAML, strictly: unknown fields are refused,
// with their line.
func ParseSettings(b []byte) (Settings, error) {
	var s Settings
	if len(b) > maxSettings {
		return s, sigbox.Errorf(sigbox.TooLarge, "more than %d bytes", maxSettings)
	}
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return Settings{}, sigbox.Errorf(sigbox.Invalid, "%s", yamlMessage(err)).WithHint("docs/config.yaml describes the fields")
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Settings{}, sigbox.Errorf(sigbox.Invalid, "expected one YAML document, found more after it")
	}
	return s, s.check()
}

// maxFaults is how many faults of a file are told at once.
const maxFaults = 5

// yamlMessage is an error of the library without the parts that speak of Go and not of
// YAML.
func yamlMessage(err error) string {
	goNames := regexp.MustCompile(`field (\S+) not found in type \S+`)
	goTypes := regexp.MustCompile(` into \S*\w\.\w+`)
	lines := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if t, ok := errors.AsType[*yaml.TypeError](err); ok {
		lines = t.Errors[:min(len(t.Errors), maxFaults)]
	}
	text := goNames.ReplaceAllString(strings.Join(lines, "; "), "unknown field $1")
	return goTypes.ReplaceAllString(text, " there")
}

// check refuses what cannot be meant. Issuers are checked by the CA.
func (s *Settings) check() error {
	if (s.TLS.Cert == "") != (s.TLS.Key == "") {
		return sigbox.Errorf(sigbox.Invalid, "tls: cert and key belong together, found only one of them")
	}
	if s.URL != "" {
		if _, err := checkURL(s.URL); err != nil {
			return err
		}
	}
	if err := checkRoles(s.Only); err != nil {
		return err
	}
	if err := s.checkHosts(); err != nil {
		return err
	}
	if err := s.Published.check(); err != nil {
		return err
	}
	if strings.HasPrefix(s.Anchor, s3.Scheme) {
		if _, err := s3.ParseURL(s.Anchor); err != nil {
			return err
		}
	}
	if _, err := s.Keys.parse(); err != nil {
		return err
	}
	if err := checkLogins(s.Login); err != nil {
		return err
	}
	if s.PublishInterval < 0 || s.PublishInterval > time.Hour {
		return sigbox.Errorf(sigbox.Invalid, "publish-interval: expected up to an hour")
	}
	watched := s.Time.config()
	if err := watched.Check(); err != nil {
		return err
	}
	if err := s.Audit.check(); err != nil {
		return err
	}
	if err := s.checkListeners(); err != nil {
		return err
	}
	if s.Limits.Requests < 0 || s.Limits.BodyBytes < 0 || s.Limits.ConnectionsPerAddress < 0 {
		return sigbox.Errorf(sigbox.Invalid, "limits: expected numbers of 0 and more")
	}
	return nil
}

// rekorV1 reports whether the v1 log takes entries.
func (s *Settings) rekorV1() bool { return s.RekorV1 == nil || *s.RekorV1 }

// over gives s with the fields that flags sets in the place of s's own.
func (s Settings) over(flags Settings) Settings {
	set := func(to *string, flag string) {
		if flag != "" {
			*to = flag
		}
	}
	set(&s.Listen, flags.Listen)
	set(&s.URL, flags.URL)
	set(&s.Passphrase, flags.Passphrase)
	set(&s.Anchor, flags.Anchor)
	if flags.Keys != nil {
		s.Keys = flags.Keys
	}
	if flags.Only != nil {
		s.Only = flags.Only
	}
	s.Parts = append(s.Parts, flags.Parts...)
	s.Hosts = append(s.Hosts, flags.Hosts...)
	if flags.Published != (Published{}) {
		s.Published = flags.Published
	}
	s.Listeners = append(s.Listeners, flags.Listeners...)
	if flags.Audit != (AuditSettings{}) {
		s.Audit = flags.Audit
	}
	if flags.Socket != (Socket{}) {
		s.Socket = flags.Socket
	}
	if flags.Proxies.Trusted != nil {
		s.Proxies = flags.Proxies
	}
	if flags.PublishInterval != 0 {
		s.PublishInterval = flags.PublishInterval
	}
	if flags.TLS != (TLSFiles{}) {
		s.TLS = flags.TLS
	}
	s.InsecureHTTP = s.InsecureHTTP || flags.InsecureHTTP
	s.Issuers = append(s.Issuers, flags.Issuers...)
	if flags.Login.Connectors != nil {
		s.Login = flags.Login
	}
	if flags.RekorV1 != nil {
		s.RekorV1 = flags.RekorV1
	}
	if flags.Time.Servers != nil {
		s.Time = flags.Time
	}
	if flags.Limits != (Limits{}) {
		s.Limits = flags.Limits
	}
	if s.Listen == "" {
		s.Listen = DefaultListen
	}
	return s
}
