package remote

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
)

// LogKey is a key whose signature on a checkpoint counts.
type LogKey struct {
	trust sigbox.TransparencyLog
	pub   crypto.PublicKey
	// host is the origin that the key is for in a v2 log; "" is any.
	host string
	// anyLog: the key was given by a person for this very log, whatever its origin.
	anyLog bool
	// ct: it signs the tree heads of a certificate log, which is known by its key:
	// the signature does not cover the origin.
	ct bool
}

// LogKeys gives the keys of the logs that trust roots list, certificate logs too.
// Those that cannot sign checkpoints are left out.
func LogKeys(roots []*sigbox.TrustedRoot) []LogKey {
	var keys []LogKey
	add := func(l sigbox.TransparencyLog, ct bool) {
		pub, err := sigbox.ParsePublicKey(l.PublicKey)
		if err != nil {
			return
		}
		k := LogKey{trust: l, pub: pub, ct: ct}
		if u, err := url.Parse(l.BaseURL); err == nil && !ct {
			k.host = u.Hostname()
		}
		keys = append(keys, k)
	}
	for _, root := range roots {
		for _, l := range root.Logs {
			add(l, false)
		}
		for _, l := range root.CTLogs {
			add(l, true)
		}
	}
	return keys
}

// maxLogKey bounds the file of a key, in bytes.
const maxLogKey = 64 << 10

// ParseLogKey reads the key of a log: a public key in PEM, or the line
// "name+hash+key" of C2SP signed-note. The first is for a log of any name, the
// second for the one that it names.
func ParseLogKey(text []byte) (LogKey, error) {
	if len(text) > maxLogKey {
		return LogKey{}, sigbox.Errorf(sigbox.TooLarge, "a log's key of %d bytes: at most %d are read", len(text), maxLogKey)
	}
	if block, _ := pem.Decode(text); block != nil {
		return pemLogKey(block)
	}
	return parseVerifierKey(strings.TrimSpace(string(text)))
}

func pemLogKey(block *pem.Block) (LogKey, error) {
	if block.Type != "PUBLIC KEY" {
		return LogKey{}, sigbox.Mismatch(sigbox.Invalid, "the log's key", "PEM of a PUBLIC KEY", strconv.Quote(clip(block.Type)))
	}
	pub, err := sigbox.ParsePublicKey(block.Bytes)
	if err != nil {
		return LogKey{}, err
	}
	k, err := newLogKey(pub)
	k.anyLog = true
	return k, err
}

// newLogKey makes a key as a trust root would list it.
func newLogKey(pub crypto.PublicKey) (LogKey, error) {
	details, err := sigbox.DetailsOf(pub)
	if err != nil {
		return LogKey{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return LogKey{}, sigbox.Errorf(sigbox.Invalid, "the log's key: %w", err)
	}
	id := sha256.Sum256(der)
	return LogKey{trust: sigbox.TransparencyLog{HashAlgorithm: sigbox.SHA256, PublicKey: der, Details: details, LogID: id[:]}, pub: pub}, nil
}

// parseVerifierKey reads name+hash+base64(type ‖ key) (signed-note, Verifier keys).
func parseVerifierKey(s string) (LogKey, error) {
	bad := func(why string) (LogKey, error) {
		return LogKey{}, sigbox.Errorf(sigbox.Invalid, "the log's key: expected PEM of a public key, or name+hash+key as in C2SP signed-note: %s", why)
	}
	name, rest, _ := strings.Cut(s, "+")
	hash, encoded, ok := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	switch {
	case !ok || name == "" || err != nil || len(raw) < 2 || strings.ContainsAny(s, "\r\n"):
		return bad("found something else")
	case raw[0] != 1 || len(raw) != 1+ed25519.PublicKeySize:
		return bad("of this form only Ed25519 keys are known")
	}
	k, err := newLogKey(ed25519.PublicKey(raw[1:]))
	if err != nil {
		return LogKey{}, err
	}
	k.host = name
	if k.trust.LogID, err = note.LogID(name, k.pub); err != nil {
		return LogKey{}, err
	}
	if got := hex.EncodeToString(k.trust.LogID[:4]); got != hash {
		return LogKey{}, sigbox.Mismatch(sigbox.Invalid, "the hash in the log's key", got, strconv.Quote(clip(hash)))
	}
	return k, nil
}

// open checks the key's signature on a checkpoint, by the rules of v2 or, when its
// origin has their form, by those of v1; or by those of certificate logs.
func (k *LogKey) open(text string) (sigbox.Checkpoint, error) {
	cp, _, err := note.Parse(text)
	if err != nil {
		return cp, err
	}
	if k.ct {
		v, err := note.NewTreeHeadVerifier(cp.Origin, k.pub)
		if err != nil {
			return sigbox.Checkpoint{}, err
		}
		return note.Open(text, v)
	}
	if isV1Origin(cp.Origin) {
		v, err := note.NewRekorV1Verifier(k.pub)
		if err != nil {
			return sigbox.Checkpoint{}, err
		}
		return note.Open(text, v)
	}
	name := k.host
	if k.anyLog {
		name = cp.Origin
	}
	if name != cp.Origin {
		return sigbox.Checkpoint{}, sigbox.Mismatch(sigbox.NotVerified, "the checkpoint's origin", strconv.Quote(name), strconv.Quote(clip(cp.Origin)))
	}
	v, err := note.NewVerifier(name, k.pub)
	if err != nil {
		return sigbox.Checkpoint{}, err
	}
	return note.Open(text, v)
}

// treeMark stands between host and tree ID in the origin of a v1 log.
const treeMark = " - "

// isV1Origin tells "host - tree ID", which Rekor v1 has, from a v2 log's host.
func isV1Origin(origin string) bool {
	tree, ok := treeOf(origin)
	return ok && tree != 0
}

// treeOf gives the tree ID in the origin of a v1 log.
func treeOf(origin string) (tree uint64, ok bool) {
	host, id, ok := strings.Cut(origin, treeMark)
	tree, err := strconv.ParseUint(id, 10, 64)
	return tree, ok && err == nil && host != ""
}

// OpenCheckpoint checks a checkpoint with the keys, one of which must have signed
// it, and says whether it is of a certificate log. The error is of kind NotVerified
// when none has, Invalid for what is no checkpoint.
func OpenCheckpoint(text string, keys []LogKey) (cp sigbox.Checkpoint, ct bool, err error) {
	cp, k, err := openBy(text, keys)
	return cp, err == nil && k.ct, err
}

func openBy(text string, keys []LogKey) (sigbox.Checkpoint, *LogKey, error) {
	cp, _, err := note.Parse(text)
	if err != nil {
		return sigbox.Checkpoint{}, nil, err
	}
	var last error
	for i := range keys {
		got, err := keys[i].open(text)
		if err == nil {
			return got, &keys[i], nil
		}
		if ct := keys[i]; ct.anyLog && !ct.ct { // nobody has said which kind of log it is
			ct.ct = true
			if got, err := ct.open(text); err == nil {
				return got, &ct, nil
			}
		}
		if last == nil || keys[i].host == cp.Origin {
			last = err
		}
	}
	return sigbox.Checkpoint{}, nil, sigbox.Errorf(sigbox.NotVerified, "no key that is trusted has signed the checkpoint of %.100q", cp.Origin).
		WithHint("name the instance whose trust root lists the log, or give the log's key: --key FILE; of a log that has just begun, sigbox instance refresh has the trust root").WithCause(last)
}

// LogConfig says which log is read, and by whose keys.
type LogConfig struct {
	// URL is where the log is: that of a server with Rekor's routes, or the prefix
	// that checkpoint and tiles of a tlog-tiles log have.
	URL string
	// Version is that of Rekor's API, 1 or 2; 0 looks what is there.
	Version int
	// CT: the URL is the prefix of a certificate log.
	CT   bool
	Keys []LogKey
	// Memory is a directory for the checkpoints that were seen last; "" forgets
	// them. It is made if it is not there.
	Memory string
}

// LogReader reads a log as it was at one checkpoint, and believes nothing that does
// not follow from that. It is safe for concurrent use.
//
// Sources: C2SP tlog-tiles and static-ct-api; openapi.yaml of sigstore/rekor; RFC
// 6962.
type LogReader struct {
	client *Client
	cfg    LogConfig
	// tiles is the prefix of checkpoint and tiles, "" if the log has none; server is
	// the URL of one with Rekor v1's routes, ct the prefix of a certificate log, each
	// "" for other logs.
	tiles, server, ct string
	// before is how many entries of a v1 log are in trees before this one: shards, as
	// the server says.
	before  uint64
	shards  []shardV1
	key     *LogKey
	head    sigbox.Checkpoint
	text    string // of the head
	cache   tileCache
	memory  memory
	issuers issuerCache
	seen    seenTrees
	opening bool                   // OpenLog has not returned
	called  atomic.Pointer[string] // what the server calls the log, once that was asked
}

// maxCheckpoint bounds the answer with a checkpoint, in bytes; what Rekor v1 says of
// its log lists old trees too.
const maxCheckpoint = 1 << 20

// OpenLog finds a log, checks its checkpoint, and that this continues the one that
// was seen last. Errors: NotFound when there is no log, NotVerified when nobody who
// is trusted signed it, or when the log was rewritten since it was last seen.
func (c *Client) OpenLog(ctx context.Context, cfg LogConfig) (*LogReader, error) {
	r := &LogReader{client: c, cfg: cfg, memory: memory{dir: cfg.Memory, sleep: c.sleep}, opening: true}
	if err := r.find(ctx); err != nil {
		return nil, err
	}
	var err error
	if r.head, r.key, err = openBy(r.text, cfg.Keys); err != nil {
		return nil, err
	}
	if r.head.Size > uint64(sigbox.MaxTreeSize) {
		return nil, sigbox.Errorf(sigbox.Invalid, "the log %.100q says that it has %d entries", r.head.Origin, r.head.Size)
	}
	if err := r.countShards(); err != nil {
		return nil, err
	}
	if r.key.ct {
		r.ct = strings.TrimRight(cfg.URL, "/")
	}
	if r.head, r.text, err = r.accept(ctx, r.text, r.head, r.key); err != nil {
		return nil, err
	}
	r.opening = false
	return r, nil
}

// find gets a checkpoint, and notes where it and the rest are.
func (r *LogReader) find(ctx context.Context) error {
	base := strings.TrimRight(r.cfg.URL, "/")
	if err := r.findTiles(ctx, base); err != nil {
		return err
	}
	onV1 := r.tiles == base+"/api/v1/log"
	switch {
	case r.cfg.CT && r.tiles == "":
		return r.findCT(ctx, base)
	case r.cfg.CT:
		return nil
	case onV1 || r.tiles == "" && r.cfg.Version != 2:
		err := r.findV1(ctx, base)
		if r.cfg.Version != 0 || err == nil || sigbox.KindOf(err) != sigbox.NotFound {
			return err
		}
		if ct := r.findCT(ctx, base); ct == nil || sigbox.KindOf(ct) == sigbox.NotVerified {
			return ct
		}
		return err
	case r.tiles == "":
		return r.nothing(nil)
	}
	return nil
}

// findTiles looks for a checkpoint with tiles beside it: the first that a trusted key
// has signed, or else the first. A server may have several logs.
func (r *LogReader) findTiles(ctx context.Context, base string) error {
	var places []string
	if r.cfg.Version == 0 || r.cfg.CT {
		places = append(places, base)
	}
	if r.cfg.Version != 1 && !r.cfg.CT {
		places = append(places, base+"/api/v2")
	}
	if r.cfg.Version != 2 && !r.cfg.CT {
		places = append(places, base+"/api/v1/log")
	}
	for _, place := range places {
		text, found, err := r.fetchCheckpoint(ctx, place)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if _, _, err := openBy(text, r.cfg.Keys); err == nil {
			r.tiles, r.text = place, text
			break
		}
		if r.tiles == "" {
			r.tiles, r.text = place, text
		}
	}
	return nil
}

func (r *LogReader) nothing(cause error) error {
	return sigbox.Errorf(sigbox.NotFound, "there is no transparency log at %s", r.cfg.URL).
		WithHint("expected the URL of a Rekor server, the prefix of a log's checkpoint and tiles, or that of a certificate log").WithCause(cause)
}

// fetchCheckpoint gets the checkpoint below a prefix. Answers that are none are as
// if nothing was there: web servers have pages for what they do not know.
func (r *LogReader) fetchCheckpoint(ctx context.Context, prefix string) (text string, found bool, err error) {
	resp, err := r.client.do(ctx, request{service: logService, method: http.MethodGet, url: prefix + "/checkpoint", limit: maxCheckpoint})
	switch {
	case err != nil:
		return "", false, err
	case resp.status != http.StatusOK && sigbox.KindOfStatus(resp.status) == sigbox.Unavailable && resp.status != http.StatusNotImplemented:
		return "", false, refused(request{service: logService, url: prefix + "/checkpoint"}, resp)
	case resp.status != http.StatusOK:
		return "", false, nil
	}
	_, _, broken := note.Parse(string(resp.body))
	return string(resp.body), broken == nil, nil
}

// logInfoV1 is LogInfo of openapi.yaml.
type logInfoV1 struct {
	RootHash       string `json:"rootHash"`
	SignedTreeHead string `json:"signedTreeHead"`
	TreeSize       int64  `json:"treeSize"`
	// Inactive are trees that the log has filled before this one.
	Inactive []shardV1 `json:"inactiveShards"`
}

// shardV1 is InactiveShardLogInfo of openapi.yaml.
type shardV1 struct {
	SignedTreeHead string `json:"signedTreeHead"`
	TreeSize       int64  `json:"treeSize"`
}

// maxShards bounds the trees that a v1 log may have filled.
const maxShards = 100

// findV1 asks a server of Rekor v1, whose checkpoint is part of its answer.
func (r *LogReader) findV1(ctx context.Context, base string) error {
	req := request{service: logService, method: http.MethodGet, url: base + "/api/v1/log", limit: maxCheckpoint}
	resp, err := r.client.expect(ctx, req, http.StatusOK)
	if err != nil && r.tiles != "" {
		return nil // tiles will do
	}
	if err != nil {
		if k := sigbox.KindOf(err); k == sigbox.NotFound || k == sigbox.Invalid {
			return r.nothing(err)
		}
		return err
	}
	var info logInfoV1
	if err := decodeJSON(resp.body, &info); err != nil || info.SignedTreeHead == "" {
		return badAnswer(req, "what a Rekor v1 log says of itself").WithCause(err)
	}
	if len(info.Inactive) > maxShards {
		return badAnswer(req, "at most "+strconv.Itoa(maxShards)+" earlier trees")
	}
	r.server, r.shards = base, info.Inactive
	if r.tiles == "" {
		r.text = info.SignedTreeHead
	}
	return nil
}

// countShards counts the entries of the trees that a v1 log has filled before the
// head's. Each size is what the log has signed, and each tree is another one.
func (r *LogReader) countShards() error {
	seen := map[string]bool{r.head.Origin: true}
	host, _, _ := strings.Cut(r.head.Origin, treeMark)
	for _, shard := range r.shards {
		cp, _, err := openBy(shard.SignedTreeHead, r.cfg.Keys)
		if err != nil {
			return sigbox.Errorf(sigbox.NotVerified, "an earlier tree of the log %.100q: %w", r.head.Origin, err)
		}
		of, _, _ := strings.Cut(cp.Origin, treeMark)
		switch {
		case of != host || !isV1Origin(cp.Origin) || seen[cp.Origin]:
			return sigbox.Mismatch(sigbox.NotVerified, "an earlier tree of the log", "another tree of "+strconv.Quote(clip(host)), strconv.Quote(clip(cp.Origin)))
		case cp.Size > uint64(sigbox.MaxTreeSize) || cp.Size != uint64(shard.TreeSize): // #nosec G115 -- negative ones are larger than all
			return sigbox.Mismatch(sigbox.NotVerified, "size of an earlier tree of the log", cp.Size, shard.TreeSize)
		}
		seen[cp.Origin] = true
		r.before += cp.Size
	}
	return nil
}

// Head gives the checkpoint that all answers lead to, and its text.
func (r *LogReader) Head() (sigbox.Checkpoint, string) { return r.head, r.text }

// Trust gives what is known of the key that signed the head.
func (r *LogReader) Trust() sigbox.TransparencyLog { return r.key.trust }

// HasTiles reports whether the log can be read as a whole without asking for each
// few entries.
func (r *LogReader) HasTiles() bool { return r.tiles != "" }

// IsV1 reports whether entries are known by UUIDs and have promises.
func (r *LogReader) IsV1() bool { return r.server != "" }

// LogIndex gives the index that the log gives an entry of its tree: of several trees
// that a v1 log has filled, the entries are counted on.
func (r *LogReader) LogIndex(index uint64) uint64 { return r.before + index }

// IsCT reports whether it is a certificate log.
func (r *LogReader) IsCT() bool { return r.key.ct }

// LogID is what entries call the log.
func (r *LogReader) LogID() []byte {
	if !r.key.anyLog || r.key.ct || isV1Origin(r.head.Origin) {
		return r.key.trust.LogID
	}
	id, err := note.LogID(r.head.Origin, r.key.pub)
	if err != nil {
		return r.key.trust.LogID
	}
	return id
}

// sameTree reports whether two checkpoints are of one tree, byte for byte.
func sameTree(a, b sigbox.Checkpoint) bool {
	return a.Size == b.Size && bytes.Equal(a.Root[:], b.Root[:])
}

// keyName names a key in a file's name: origin and key.
func (k *LogKey) keyName(origin string) string {
	if k.ct {
		origin = "" // whoever serves the log could choose it
	}
	spki := sha256.Sum256(k.trust.PublicKey)
	b := binary.BigEndian.AppendUint64(nil, uint64(len(origin)))
	sum := sha256.Sum256(append(append(b, origin...), spki[:]...))
	return hex.EncodeToString(sum[:16])
}
