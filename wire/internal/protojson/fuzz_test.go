package protojson

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"testing"
	"time"
)

// message has a member of each kind.
type message struct {
	text   string
	bytes  []byte
	number int64
	time   time.Time
	list   []string
}

func readMessage(b []byte) (message, error) { return readAround(b, findLong(b)) }

func readAround(b []byte, l long) (message, error) {
	var m message
	err := decode("test", b, l, func(d *Decoder) error {
		return d.Object(func(field string) (err error) {
			switch field {
			case "someText":
				m.text, err = d.String(1 << 10)
			case "bytes":
				m.bytes, err = d.Lines(minLong)
			case "number":
				m.number, err = d.Int64()
			case "time":
				m.time, err = d.Time()
			case "list":
				err = d.Array(8, func() error {
					s, err := d.String(1 << 10)
					m.list = append(m.list, s)
					return err
				})
			}
			return err
		}, "someText", "bytes", "number", "time", "list")
	})
	return m, err
}

func (m message) encode() []byte {
	e := NewEncoder(nil)
	e.Document(func() {
		e.String("someText", m.text)
		e.Bytes("bytes", m.bytes)
		e.Int64("number", m.number)
		if !m.time.IsZero() {
			e.Time("time", m.time)
		}
		e.Array("list", func() {
			for _, s := range m.list {
				e.String("", s)
			}
		})
	})
	return e.Done()
}

// FuzzDecode: what is read is JSON that encoding/json reads as the same values,
// and what is written again is read the same.
func FuzzDecode(f *testing.F) {
	f.Add(message{"text", []byte{0xfb, 0xff}, -7, time.Unix(1700000000, 5), []string{"a", ""}}.encode())
	f.Add([]byte(`{"some_text":"\u00e9\ud83d\ude00","bytes":"-_8","number":7,"list":null,"time":"2026-01-31T14:00:00+02:00"}`))
	f.Add([]byte(`{"someText":"a","some_text":"b"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := readMessage(in)
		if err != nil {
			return
		}
		var other struct {
			Text   string   `json:"someText"`
			Snake  string   `json:"some_text"`
			Bytes  string   `json:"bytes"`
			Number any      `json:"number"`
			List   []string `json:"list"`
		}
		if err := json.Unmarshal(in, &other); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		if other.Text+other.Snake != m.text || len(other.List) != len(m.list) {
			t.Fatalf("found %+v, encoding/json %+v", m, other)
		}
		if n, ok := other.Number.(string); ok && n != strconv.FormatInt(m.number, 10) {
			t.Fatalf("found %d, encoding/json %s", m.number, n)
		}
		if b, err := base64.StdEncoding.DecodeString(other.Bytes); err == nil && string(b) != string(m.bytes) {
			t.Fatalf("found %x, encoding/json %x", m.bytes, b)
		}
		out := m.encode()
		again, err := readMessage(out)
		if err != nil || string(again.encode()) != string(out) {
			t.Fatalf("wrote %s, read %+v, %v", out, again, err)
		}
	})
}
