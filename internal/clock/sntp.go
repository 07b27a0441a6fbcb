package clock

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
)

const (
	ntpPort = "123"
	// packetSize is that of a packet without extensions and authenticator (RFC 5905
	// §7.3).
	packetSize = 48
	// answerTimeout bounds the wait for one answer, and maxPackets how many are read for
	// it: whoever floods us with others has the server count as silent.
	answerTimeout = 2 * time.Second
	maxPackets    = 64

	version       = 4
	modeClient    = 3
	modeServer    = 4
	leapUnknown   = 3
	maxStratum    = 15
	secondsTo1970 = 2208988800
)

// Answer is what a server says of the time.
type Answer struct {
	// Offset is how far its time is ahead of ours, and Uncertainty how far the true time
	// may be from what it says, by its own word and by the way to it.
	Offset, Uncertainty time.Duration

	at reading
}

// address gives the address of a server's name, with NTP's port if it has none.
func address(server string) (string, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = strings.Trim(server, "[]"), ntpPort
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" || len(host) > 253 || strings.ContainsAny(host, "/ \t\r\n@") {
		return "", sigbox.Mismatch(sigbox.Invalid, "time: an NTP server", "HOST or HOST:PORT", strconv.Quote(server))
	}
	return net.JoinHostPort(host, port), nil
}

// kissError is a server's wish to be asked less, or not at all (RFC 5905 §7.4).
type kissError string

func (e kissError) Error() string { return "it does not want to be asked: " + string(e) }

// denied reports whether it never wants to be.
func (e kissError) denied() bool { return e == "DENY" || e == "RSTR" }

// sntp asks servers.
type sntp struct{ now func() time.Time }

// query asks one server once.
func (q *sntp) query(ctx context.Context, server string) (Answer, error) {
	addr, err := address(server)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		return Answer{}, unreachable(err)
	}
	defer func() { _ = conn.Close() }() // nothing is lost
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return q.exchange(conn)
}

// exchange sends a request and reads its answer. What is no answer to it is passed over.
func (q *sntp) exchange(conn net.Conn) (Answer, error) {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	sent := q.now()
	if _, err := conn.Write(request(nonce)); err != nil {
		return Answer{}, unreachable(err)
	}
	var buffer [packetSize + 1]byte
	var strange error
	for range maxPackets {
		n, err := conn.Read(buffer[:])
		received := q.now()
		if err != nil {
			return Answer{}, errors.Join(unreachable(err), strange)
		}
		p, err := parse(buffer[:min(n, packetSize)], nonce)
		if errors.Is(err, errStranger) {
			strange = err
			continue
		}
		if err != nil {
			return Answer{}, err
		}
		return p.answer(sent, received)
	}
	return Answer{}, errors.New("it sends packets that answer nothing")
}

// unreachable says why there is no answer.
func unreachable(err error) error {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return errors.New("no answer within " + answerTimeout.String())
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}

// request makes a client's packet. It says nothing of us: the transmit timestamp, which
// comes back as the origin's, is random, so that nobody can answer who has not seen it.
func request(nonce [8]byte) []byte {
	p := make([]byte, packetSize)
	p[0] = version<<3 | modeClient
	copy(p[40:], nonce[:])
	return p
}

// packet is what is read of a server's answer (RFC 5905 §7.3).
type packet struct {
	rootDelay, rootDispersion time.Duration
	received, transmitted     uint64
}

// errStranger is a packet that is no answer to our request.
var errStranger = errors.New("it sends packets that do not answer what was asked")

// parse reads an answer, by the checks of RFC 5905 §9.2 and RFC 4330 §5.
func parse(b []byte, nonce [8]byte) (packet, error) {
	var p packet
	if len(b) < packetSize || b[0]&7 != modeServer || [8]byte(b[24:32]) != nonce {
		return p, errStranger
	}
	leap, stratum := b[0]>>6, b[1]
	p.rootDelay, p.rootDispersion = short(b[4:]), short(b[8:])
	p.received, p.transmitted = binary.BigEndian.Uint64(b[32:]), binary.BigEndian.Uint64(b[40:])
	v := b[0] >> 3 & 7
	switch {
	case v != version && v != version-1:
		return p, errors.New("it speaks version " + strconv.Itoa(int(v)) + " of NTP, expected 4")
	case stratum == 0:
		return p, kissError(code(b[12:16]))
	case leap == leapUnknown || stratum > maxStratum:
		return p, errors.New("it does not know the time itself")
	case p.received == 0 || p.transmitted == 0 || p.transmitted-p.received > 1<<63:
		return p, errors.New("it sends times that cannot be")
	}
	return p, nil
}

// code reads the four letters of a kiss (RFC 5905 §7.4).
func code(b []byte) string {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return "no code"
		}
	}
	return string(b)
}

// short reads the short format: seconds and 1/65,536 of them.
func short(b []byte) time.Duration {
	return time.Duration(uint64(binary.BigEndian.Uint32(b)) * uint64(time.Second) >> 16) // #nosec G115 -- below 2^47
}

// answer computes the offset (RFC 5905 §8) and how far it may be off (§11.2).
func (p packet) answer(sent, received time.Time) (Answer, error) {
	away := received.Sub(sent) // by the monotonic clock
	wall := sent.Round(0)
	in, out := moment(p.received, wall), moment(p.transmitted, wall)
	busy := out.Sub(in)
	delay := max(away-busy, 0)
	if busy < 0 || busy > away+time.Second {
		return Answer{}, errors.New("it sends times that cannot be")
	}
	offset := (in.Sub(wall) + out.Sub(wall.Add(away))) / 2
	return Answer{Offset: offset, Uncertainty: p.rootDelay/2 + p.rootDispersion + delay/2}, nil
}

// moment reads a timestamp: seconds since 1900 in 32 bits, which begin anew every 136
// years, and their fraction (RFC 5905 §6). It is the one that is nearest to another time.
func moment(ntp uint64, near time.Time) time.Time {
	seconds := uint32(ntp >> 32)
	have := uint32(uint64(near.Unix() + secondsTo1970))               // #nosec G115 -- the era is cut off
	ahead := int32(seconds - have)                                    // #nosec G115 -- the shorter way round
	fraction := int64((ntp & 0xffffffff) * uint64(time.Second) >> 32) // #nosec G115 -- below a second
	return time.Unix(near.Unix()+int64(ahead), fraction)
}
