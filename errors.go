package sigbox

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an [Error] is. There are few of them, and each
// becomes an HTTP status in one place (internal/httpapi) and an exit status in
// one other (cmd/sigbox).
type Kind uint8

const (
	// Internal is a failure that is nobody's input: a bug or a broken machine.
	// Its text is logged and never shown to a remote caller.
	Internal Kind = iota
	// Invalid input: the same request will fail again.
	Invalid
	// Unauthenticated: a token or credential is missing, wrong or expired.
	Unauthenticated
	// Denied: the caller is known and may not do this.
	Denied
	// NotFound: there is no such thing.
	NotFound
	// Conflict: the thing exists already, or somebody else moved first.
	Conflict
	// TooLarge: a bound was exceeded; the message names the bound.
	TooLarge
	// Unavailable: not now; try again later.
	Unavailable
	// Frozen: the log takes no further entries.
	Frozen
	// NotVerified: the signature, or what it stands on, is not to be trusted.
	NotVerified
	// Fatal stops a service: what it stands on is broken (a failed fsync, a
	// forked head). It is never a request's fault, and it does not heal without
	// a restart.
	Fatal
)

var kindNames = [...]string{
	Internal: "internal error", Invalid: "invalid", Unauthenticated: "unauthenticated", Denied: "denied",
	NotFound: "not found", Conflict: "conflict", TooLarge: "too large", Unavailable: "unavailable",
	Frozen: "frozen", NotVerified: "not verified", Fatal: "fatal",
}

// String names the kind in lower case, for messages and logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown kind"
}

// KindOfStatus is the kind of failure that an HTTP server's refusal stands for, by its
// status (RFC 9110, section 15). Statuses below 400 are no refusals: what comes with one
// that was not asked for is Invalid.
func KindOfStatus(status int) Kind {
	switch status {
	case 401:
		return Unauthenticated
	case 403:
		return Denied
	case 404:
		return NotFound
	case 409, 412: // it exists; somebody else moved first
		return Conflict
	case 413:
		return TooLarge
	case 408, 429: // too slow, too often
		return Unavailable
	}
	if status >= 500 {
		return Unavailable
	}
	return Invalid
}

// Error is a failure that says what was expected, what was found and what to do
// next. Msg is safe to show to whoever sent the input; Err is the cause, for
// logs, and is shown to remote callers never.
type Error struct {
	Kind Kind
	// Msg says what went wrong, in one sentence without a final stop.
	Msg string
	// Want and Got are what was expected and what was found, when that says more.
	Want, Got string
	// Hint is the next step, as a sentence without a final stop.
	Hint string
	// Err is the cause, or nil.
	Err error
}

// Error gives all parts in one line, the cause included.
func (e *Error) Error() string {
	s := e.Public()
	if _, told := e.Err.(silent); e.Err != nil && !told {
		if s != "" {
			s += ": "
		}
		s += e.Err.Error()
	}
	return s
}

// Public gives all parts but the cause: what a remote caller may read.
func (e *Error) Public() string {
	s := e.Msg
	if e.Want != "" {
		s += ": expected " + e.Want
		if e.Got != "" {
			s += ", found " + e.Got
		}
	} else if e.Got != "" {
		s += ": found " + e.Got
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of a kind. A %w verb sets the cause, whose text then
// stands in the message: use it only for causes that a remote caller may read.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Msg: err.Error(), Err: hiddenCause(errors.Unwrap(err))}
}

// hiddenCause keeps a cause for errors.Is without printing it twice.
func hiddenCause(err error) error {
	if err == nil {
		return nil
	}
	return silent{err}
}

// silent is a cause whose text already stands in the message.
type silent struct{ error }

func (s silent) Unwrap() error { return s.error }

// WithHint returns a copy of e with the next step to take.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// WithCause returns a copy of e with a cause that only logs show.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// Mismatch makes an Error of a kind for a value that is not the expected one.
func Mismatch(kind Kind, msg string, want, got any) *Error {
	return &Error{Kind: kind, Msg: msg, Want: fmt.Sprint(want), Got: fmt.Sprint(got)}
}

// KindOf gives the kind of the first Error in err's chain; an error that is none
// of ours is Internal. It must not be called with nil.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
