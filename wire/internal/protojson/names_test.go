package protojson

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// TestSpellings: a field has two names, and what is like them is none.
func TestSpellings(t *testing.T) {
	t.Parallel()
	skip := func(d *Decoder) error { _, err := d.Raw(); return err }
	for name, ok := range map[string]bool{
		"value": true, "otherValue2X": true, "other_value2_x": true,
		"other_value2": false, "other_value2_xy": false, "other_value2_x_": false, "other_value_2_x": false, "other_value2X": false, "otherValue2_x": false,
		"Other_value2_x": false, "other_Value2_x": false, "otherValue2X_": false, "_": false, "": false, "value2": false, "valu": false,
	} {
		err := member(`{"`+name+`":1}`, skip)
		if (err == nil) != ok || err != nil && (sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "unknown member")) {
			t.Errorf("%q: found %v", name, err)
		}
	}
}

// TestLongTime: a fraction may have any number of digits, but not all of them are
// read.
func TestLongTime(t *testing.T) {
	t.Parallel()
	read := func(d *Decoder) error { _, err := d.Time(); return err }
	for digits, ok := range map[int]bool{1: true, 9: true, 40: true, 100: false} {
		err := member(`{"value":"2026-01-31T12:00:00.`+strings.Repeat("0", digits)+`Z"}`, read)
		if (err == nil) != ok {
			t.Errorf("%d digits: found %v", digits, err)
		}
	}
}

// TestLongInteger: digits behind an integer that is as long as any make another.
func TestLongInteger(t *testing.T) {
	t.Parallel()
	read := func(d *Decoder) error { _, err := d.Int64(); return err }
	for in, ok := range map[string]bool{"-9223372036854775808": true, "-92233720368547758080": false, `"-9223372036854775808"`: true, `"-92233720368547758080"`: false} {
		if err := member(`{"value":`+in+`}`, read); (err == nil) != ok {
			t.Errorf("%s: found %v", in, err)
		}
	}
}
