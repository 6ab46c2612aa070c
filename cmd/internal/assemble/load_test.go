package assemble

import (
	"os"
	"path/filepath"
	"testing"
)

// A key that is mistyped, one of the wrong type and one out of range come out
// together.
func TestLoadNamesAllThatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "comet.toml")
	text := "[channel]\nmsgbuff = 1\nauth = \"yes\"\nbucket = 0\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := path + `: 3 problems
  channel.auth = "yes": want true or false
  channel.msgbuff: unknown key; did you mean channel.msgbuf?
  channel.bucket = 0: want 1..65536; remove the line for the default, 256`
	if _, err := LoadComet(path); err == nil || err.Error() != want {
		t.Errorf("LoadComet =\n%v\nwant\n%s", err, want)
	}
	if _, err := LoadComet(filepath.Join(path, "none")); err == nil {
		t.Error("LoadComet of no file = nil, want an error")
	}
}
