package keys

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox"
)

// Passphrase gives the passphrase of key files; nil stands for none.
type Passphrase func() ([]byte, error)

const (
	sources = "env:NAME, file:PATH or credential:NAME"

	maxPassphrase = 4 << 10
)

// PassphraseFrom reads where a passphrase is:
//
//	""                none, keys stand in the clear
//	env:NAME          an environment variable
//	file:PATH         a file, without its last line end
//	credential:NAME   a systemd credential (systemd.exec(5), LoadCredential=)
//
// Nothing is read before it is needed.
func PassphraseFrom(source string) (Passphrase, error) {
	if source == "" {
		return nil, nil
	}
	return SecretFrom("passphrase", source)
}

// SecretFrom reads where a secret is that is called what: as PassphraseFrom, but it has
// to be somewhere. Errors name the source and never what is there, nor what is no source:
// it may be the secret itself, put in the wrong place.
func SecretFrom(what, source string) (func() ([]byte, error), error) {
	kind, name, _ := strings.Cut(source, ":")
	switch {
	case name == "":
	case kind == "env":
		return func() ([]byte, error) { return usable(what, source, []byte(os.Getenv(name))) }, nil
	case kind == "file":
		return func() ([]byte, error) { return fromFile(what, source, name) }, nil
	case kind == "credential" && filepath.IsLocal(name):
		return func() ([]byte, error) { return fromCredential(what, source, name) }, nil
	case kind == "credential":
		return nil, sigbox.Errorf(sigbox.Invalid, "%s source %.60q: expected %s", what, source, sources)
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "%s source: expected %s, found something else, which is not shown: it may be the secret itself", what, sources)
}

func fromCredential(what, source, name string) ([]byte, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "%s %s: CREDENTIALS_DIRECTORY is not set", what, source).
			WithHint("start sigbox from a systemd unit with LoadCredential=%s:PATH", name)
	}
	return fromFile(what, source, filepath.Join(dir, name))
}

func fromFile(what, source, path string) ([]byte, error) {
	b, err := readPrivate(path, maxPassphrase)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "%s %s: %w", what, source, err)
	}
	return usable(what, source, b)
}

// usable takes the last line end off and refuses what is empty.
func usable(what, source string, b []byte) ([]byte, error) {
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(b) == 0 {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "%s %s: it is empty or not set", what, source)
	}
	return b, nil
}
