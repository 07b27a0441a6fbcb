package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/oidc"
)

const (
	// maxAdminBody bounds what is read from the admin socket, on both sides.
	maxAdminBody = 1 << 20
	adminTimeout = 30 * time.Second
	// maxSocketPath is what fits into sockaddr_un on every system.
	maxSocketPath = 100
)

// listenAdmin opens the admin socket. The data directory is locked, so a socket
// that is there was left behind.
func listenAdmin(ctx context.Context, dir string) (net.Listener, error) {
	l, err := placeSocket(ctx, filepath.Join(dir, socketFile), 0o600, -1)
	if err != nil {
		return nil, diskError(dir, err)
	}
	return l, nil
}

// placeSocket opens a socket. It is made where nobody else can reach it, and put in
// place, also of one that is there, when its mode and group are right; -1 is the
// process's own group.
func placeSocket(ctx context.Context, path string, mode fs.FileMode, group int) (net.Listener, error) {
	private, err := os.MkdirTemp(filepath.Dir(path), ".socket-") // 0700
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(private) }() // it is empty, and in nobody's way
	made := filepath.Join(private, socketFile)
	var l net.Listener
	err = shortPath(made, func(short string) (err error) {
		var lc net.ListenConfig
		l, err = lc.Listen(ctx, "unix", short)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by its own path, below
	if err = os.Chmod(made, mode); err == nil && group >= 0 {
		err = os.Chown(made, -1, group)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	var placed fs.FileInfo
	if err == nil {
		placed, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return socket{l, path, placed}, nil
}

// socket is a listener that removes its file when it is closed: its own, and not what
// somebody has put in the place meanwhile.
type socket struct {
	net.Listener
	path   string
	placed fs.FileInfo
}

// Close removes the file while it is answered on: who begins after that has their own.
func (s socket) Close() error {
	var err error
	if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.placed) {
		err = os.Remove(s.path)
	}
	return errors.Join(s.Listener.Close(), err)
}

// shortPath calls f with a path that fits into a socket address and leads to
// path: itself, or, on Linux, one through a descriptor of its directory.
func shortPath(path string, f func(string) error) error {
	if len(path) <= maxSocketPath {
		return f(path)
	}
	if runtime.GOOS != "linux" {
		return sigbox.Errorf(sigbox.Invalid, "%s is too long a path for a socket: at most %d bytes", path, maxSocketPath).WithHint("give --data a shorter path")
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // only a handle of the directory
	return f("/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/" + filepath.Base(path))
}

// adminError is an error on the socket. Whoever can open it may read all of it.
type adminError struct {
	Kind    sigbox.Kind `json:"kind"`
	Message string      `json:"message"`
	Hint    string      `json:"hint,omitempty"`
}

// tokenCall is a [TokenRequest] on the socket.
type tokenCall struct {
	Email    string `json:"email"`
	Audience string `json:"audience,omitempty"`
	// Lifetime in nanoseconds.
	Lifetime int64 `json:"lifetime,omitempty"`
}

type tokenAnswer struct {
	Token string `json:"token"`
}

// explanation is a [TokenExplanation] on the socket.
type explanation struct {
	Explanation ca.Explanation `json:"explanation"`
	Refusal     *adminError    `json:"refusal,omitempty"`
}

// ceremonyCall asks for a ceremony's request on the socket, or carries it or its answer.
type ceremonyCall struct {
	Roles []string `json:"roles,omitempty"`
	File  []byte   `json:"file,omitempty"`
}

// newAdminServer serves an Admin over HTTP: a route a method.
func newAdminServer(admin Admin, log *slog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("POST /token", adminRoute(func(r *http.Request, c tokenCall) (any, error) {
		log.InfoContext(r.Context(), "making a token", "email", c.Email, "audience", cmp.Or(c.Audience, oidc.DefaultAudience))
		token, err := admin.Token(r.Context(), TokenRequest{c.Email, c.Audience, time.Duration(c.Lifetime)})
		return tokenAnswer{token}, err
	}))
	mux.Handle("POST /token/explain", adminRoute(func(r *http.Request, c tokenAnswer) (any, error) {
		x, err := admin.ExplainToken(r.Context(), c.Token)
		out := explanation{Explanation: x.Explanation}
		if x.Refusal != nil {
			refusal := adminErrorOf(x.Refusal)
			out.Refusal = &refusal
		}
		return out, err
	}))
	mux.Handle("GET /users", adminRoute(func(r *http.Request, _ struct{}) (any, error) {
		return admin.Users(r.Context())
	}))
	mux.Handle("POST /users", adminRoute(func(r *http.Request, u NewUser) (any, error) {
		log.InfoContext(r.Context(), "adding user", "email", u.Email)
		return struct{}{}, admin.AddUser(r.Context(), u)
	}))
	mux.Handle("DELETE /users/{email}", adminRoute(func(r *http.Request, _ struct{}) (any, error) {
		log.InfoContext(r.Context(), "removing user", "email", r.PathValue("email"))
		return struct{}{}, admin.RemoveUser(r.Context(), r.PathValue("email"))
	}))
	mux.Handle("POST /rotate", adminRoute(func(r *http.Request, req RotateRequest) (any, error) {
		log.InfoContext(r.Context(), "rotating a key", "role", req.Role, "dryRun", req.DryRun, "compromised", req.Compromised, "abandon", req.Abandon)
		return admin.Rotate(r.Context(), req)
	}))
	mux.Handle("GET /rotations", adminRoute(func(r *http.Request, _ struct{}) (any, error) {
		return admin.Rotations(r.Context())
	}))
	mux.Handle("POST /ceremony/request", adminRoute(func(r *http.Request, c ceremonyCall) (any, error) {
		log.InfoContext(r.Context(), "making a ceremony's request", "roles", c.Roles)
		file, err := admin.CeremonyRequest(r.Context(), c.Roles)
		return ceremonyCall{File: file}, err
	}))
	mux.Handle("POST /ceremony/accept", adminRoute(func(r *http.Request, c ceremonyCall) (any, error) {
		log.InfoContext(r.Context(), "taking a ceremony's answer", "bytes", len(c.File))
		return admin.CeremonyAccept(r.Context(), c.File)
	}))
	mux.Handle("GET /status", adminRoute(func(r *http.Request, _ struct{}) (any, error) {
		return admin.Status(r.Context())
	}))
	return &http.Server{
		ConnContext: withPeer,
		Handler:     mux, ReadTimeout: adminTimeout, WriteTimeout: adminTimeout, IdleTimeout: adminTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// adminRoute is a handler that reads a Req and answers with what f gives.
func adminRoute[Req any](f func(*http.Request, Req) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req Req
		err := readAdmin(http.MaxBytesReader(w, r.Body, maxAdminBody), &req)
		var answer any
		if err == nil {
			answer, err = f(r, req)
		}
		status := http.StatusOK
		if err != nil {
			status, answer = http.StatusBadRequest, adminErrorOf(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.MarshalWrite(w, answer) // the caller has gone: nothing to be done
	})
}

func adminErrorOf(err error) adminError {
	e, ok := errors.AsType[*sigbox.Error](err)
	if !ok {
		return adminError{Kind: sigbox.Internal, Message: err.Error()}
	}
	return adminError{Kind: e.Kind, Message: e.WithHint("").Error(), Hint: e.Hint}
}

func (e *adminError) error() *sigbox.Error {
	return &sigbox.Error{Kind: e.Kind, Msg: e.Message, Hint: e.Hint}
}

// readAdmin reads one JSON value strictly; an empty body is the zero value.
func readAdmin(r io.Reader, v any) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "admin socket: %w", err)
	}
	if len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return sigbox.Errorf(sigbox.Invalid, "admin socket: not the expected JSON: %w", err).WithHint("are both sides the same version of sigbox?")
	}
	return nil
}

// adminClient is the Admin of an instance that a server runs on.
type adminClient struct{ http *http.Client }

var _ Admin = (*adminClient)(nil)

// dialAdmin gives the Admin behind a directory's socket, if one answers.
func dialAdmin(ctx context.Context, dir string) (*adminClient, error) {
	path := filepath.Join(dir, socketFile)
	dial := func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		err = shortPath(path, func(short string) (err error) {
			var d net.Dialer
			conn, err = d.DialContext(ctx, "unix", short)
			return err
		})
		return conn, err
	}
	probe, err := dial(ctx, "", "")
	if err != nil {
		return nil, err
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	return &adminClient{&http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: adminTimeout}}, nil
}

func (c *adminClient) Token(ctx context.Context, req TokenRequest) (string, error) {
	var answer tokenAnswer
	err := c.call(ctx, http.MethodPost, "/token", tokenCall{req.Email, req.Audience, int64(req.Lifetime)}, &answer)
	return answer.Token, err
}

func (c *adminClient) ExplainToken(ctx context.Context, token string) (TokenExplanation, error) {
	var answer explanation
	if err := c.call(ctx, http.MethodPost, "/token/explain", tokenAnswer{token}, &answer); err != nil {
		return TokenExplanation{}, err
	}
	x := TokenExplanation{Explanation: answer.Explanation}
	if answer.Refusal != nil {
		x.Refusal = answer.Refusal.error()
	}
	return x, nil
}

func (c *adminClient) Users(ctx context.Context) (users []User, err error) {
	return users, c.call(ctx, http.MethodGet, "/users", nil, &users)
}

func (c *adminClient) AddUser(ctx context.Context, u NewUser) error {
	return c.call(ctx, http.MethodPost, "/users", u, &struct{}{})
}

func (c *adminClient) RemoveUser(ctx context.Context, email string) error {
	return c.call(ctx, http.MethodDelete, "/users/"+url.PathEscape(email), nil, &struct{}{})
}

func (c *adminClient) Rotate(ctx context.Context, req RotateRequest) (keys RoleKeys, err error) {
	return keys, c.call(ctx, http.MethodPost, "/rotate", req, &keys)
}

func (c *adminClient) Rotations(ctx context.Context) (all []RoleKeys, err error) {
	return all, c.call(ctx, http.MethodGet, "/rotations", nil, &all)
}

func (c *adminClient) CeremonyRequest(ctx context.Context, roles []string) ([]byte, error) {
	var answer ceremonyCall
	err := c.call(ctx, http.MethodPost, "/ceremony/request", ceremonyCall{Roles: roles}, &answer)
	return answer.File, err
}

func (c *adminClient) CeremonyAccept(ctx context.Context, file []byte) (a CeremonyAccepted, err error) {
	return a, c.call(ctx, http.MethodPost, "/ceremony/accept", ceremonyCall{File: file}, &a)
}

func (c *adminClient) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/status", nil, &s)
}

func (c *adminClient) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// call sends req, unless it is nil, and reads the answer.
func (c *adminClient) call(ctx context.Context, method, path string, req, answer any) (err error) {
	var body []byte
	if req != nil {
		if body, err = json.Marshal(req); err != nil {
			return sigbox.Errorf(sigbox.Internal, "%w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, bytes.NewReader(body))
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "admin socket: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	limited := io.LimitReader(resp.Body, maxAdminBody)
	if resp.StatusCode == http.StatusOK {
		return readAdmin(limited, answer)
	}
	var e adminError
	if err := readAdmin(limited, &e); err != nil {
		return err
	}
	return e.error()
}
