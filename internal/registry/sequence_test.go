package registry

import (
	"slices"
	"testing"
)

func TestSortNames(t *testing.T) {
	for _, c := range []struct {
		name string
		want []string // oldest first
	}{
		{"digits count, not letters", []string{"0000000009", "0000000010", "0000000011"}},
		{"more than ten digits", []string{"0999999999", "1000000000", "2147483646"}},
		{"the counter wraps to negative", []string{"2147483646", "2147483647", "-2147483648", "-2147483647"}},
		{"and back to zero", []string{"-000000002", "-000000001", "0000000000", "0000000001"}},
		{"with a prefix", []string{"x-0000000003", "0000000004", "y0000000005"}},
		{"names without a number are last", []string{"0000000001", "99999999999999999999", "a", "b"}},
		{"one number, several names", []string{"0000000001", "a0000000001"}},
		{"none", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := slices.Clone(c.want)
			slices.Reverse(got)
			sortNames(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("sorted = %q, want %q", got, c.want)
			}
		})
	}
}
