// Package parts is what the hosts of an instance tell each other when it stands on
// several: what each has of what clients trust, and where its services are. A part is a
// ClientTrustConfig, as a file that somebody brings ([Read]) or signed by the host that it
// is of ([Publisher]), and taken by others that were told its key ([Copies]):
//
//	list := parts.List{…}
//	err := list.AddTo(config)              // what all hosts have
//	log, host, ok := list.CTLog(now, "")   // where an authority logs its certificates
//
// What a part says is trusted, so that a signed one says nothing of roles that its host
// was not given, is never older than the one before, and takes nothing away
// ([Lost]).
package parts

import (
	"errors"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/wire/trust"
)

const (
	// Max bounds the other hosts of an instance.
	Max = 32
	// maxServices bounds the services of a kind that a part names. With it those of all hosts
	// are no more than a client reads of a signing config (256).
	maxServices = 7
)

// Part is what another host of the instance has.
type Part struct {
	// From is the file that it is in, or the URL of the host.
	From string
	// CAFile is that of the host's settings.
	CAFile string
	*trust.ClientTrustConfig
	// TUF is where clients get the trust root, nil but for the signed part of the host that
	// publishes it.
	TUF *TUF
}

// List are the parts of other hosts, and from where there is none yet.
type List struct {
	Parts   []Part
	Missing []string
	// Unheard says that one of the missing is of a host that is asked.
	Unheard bool
}

// Err says which parts are missing, nil if none is.
func (l *List) Err() error {
	if len(l.Missing) == 0 {
		return nil
	}
	return sigbox.Errorf(sigbox.Unavailable, "%d of %d parts of other hosts are not there", len(l.Missing), len(l.Missing)+len(l.Parts)).
		WithHint("start the hosts that the settings name, or bring each one's part.json to where the settings say")
}

// Read reads the parts in files. One that is not there is no error, so that hosts can be
// started in any order.
func Read(paths []string) (*List, error) {
	l := new(List)
	for _, path := range paths {
		config, err := readFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			l.Missing = append(l.Missing, path)
		case err != nil:
			return nil, err
		default:
			l.Parts = append(l.Parts, Part{From: path, ClientTrustConfig: config})
		}
	}
	return l, nil
}

func readFile(path string) (*trust.ClientTrustConfig, error) {
	b, info, err := atomicfile.Read(path, trust.MaxSize)
	if _, told := errors.AsType[*sigbox.Error](err); told {
		return nil, sigbox.Errorf(sigbox.Invalid, "parts: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return nil, sigbox.Errorf(sigbox.Denied, "parts: %s can be changed by others than its owner (mode %o), and what it says is trusted", path, perm).
			WithHint("chmod go-w %s", path)
	}
	config, err := parse(b)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "parts: %s: %w", path, err).WithHint("it is a copy of the file part.json in the other host's data directory")
	}
	return config, nil
}

// parse reads a ClientTrustConfig whose services are where services can be, and whose
// trust root clients can use.
func parse(b []byte) (*trust.ClientTrustConfig, error) {
	config, err := trust.ParseClientTrustConfig(b)
	if err != nil {
		return nil, err
	}
	for _, list := range [][]sigbox.Service{config.Signing.CAs, config.Signing.OIDC, config.Signing.Logs, config.Signing.TSAs} {
		if len(list) > maxServices {
			return nil, sigbox.Errorf(sigbox.TooLarge, "a part names at most %d services of a kind, found %d", maxServices, len(list))
		}
	}
	for _, s := range slices.Concat(config.Signing.CAs, config.Signing.OIDC, config.Signing.Logs, config.Signing.TSAs) {
		if err := checkURL(s.URL); err != nil {
			return nil, err
		}
	}
	for _, l := range config.Root.CTLogs {
		if err := checkURL(l.BaseURL); err != nil {
			return nil, err
		}
	}
	return config, checkRoot(config.Root)
}

func checkURL(text string) error {
	if u, err := url.Parse(text); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return sigbox.Mismatch(sigbox.Invalid, "a service cannot be there", "an http or https URL", text)
	}
	return nil
}

// Chains are the authorities of other hosts, the issuing certificate first.
func (l *List) Chains() (chains [][][]byte) {
	for _, p := range l.Parts {
		for _, ca := range p.Root.CertificateAuthorities {
			chains = append(chains, ca.Chain)
		}
	}
	return chains
}

// CTLog gives the log that an authority is to use now, and the part of its host, any of
// whose logs may answer there: the newest that is valid, and is not the place of a shard
// that only is read, below shards. ok is false if there is none.
func (l *List) CTLog(now time.Time, shards string) (newest sigbox.TransparencyLog, host Part, ok bool) {
	for _, p := range l.Parts {
		for _, log := range p.Root.CTLogs {
			if log.ValidFor.Contains(now) && !strings.Contains(log.BaseURL, shards) && (!ok || log.ValidFor.Start.After(newest.ValidFor.Start)) {
				newest, host, ok = log, p, true
			}
		}
	}
	return newest, host, ok
}

// Publisher gives the part that says where clients get the trust root of the instance.
func (l *List) Publisher() (p Part, ok bool) {
	for _, p := range l.Parts {
		if p.TUF != nil {
			return p, true
		}
	}
	return Part{}, false
}
