package assemble

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// diary notes what happens in which order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// layer runs until it is ended, and takes a second to end.
func (d *diary) layer(name string, result error) layer {
	return func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(time.Second)
		d.note(name)
		return result
	}
}

func TestStackEndsFromTheTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		bad, worse := errors.New("bad"), errors.New("worse")
		err := stack(ctx, d.layer("bottom", bad), d.layer("middle", nil), d.layer("top", worse))
		if want := []string{"top", "middle", "bottom"}; !slices.Equal(d.lines, want) {
			t.Errorf("layers ended as %v, want %v", d.lines, want)
		}
		if !errors.Is(err, bad) || !errors.Is(err, worse) {
			t.Errorf("stack = %v, want both errors", err)
		}
	})
}

func TestStackEndsWhenALayerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		bad := errors.New("bad")
		failing := func(context.Context) error {
			time.Sleep(time.Minute)
			d.note("failed")
			return bad
		}
		err := stack(t.Context(), d.layer("bottom", nil), failing, d.layer("top", nil))
		if want := []string{"failed", "top", "bottom"}; !slices.Equal(d.lines, want) {
			t.Errorf("layers ended as %v, want %v", d.lines, want)
		}
		if !errors.Is(err, bad) {
			t.Errorf("stack = %v, want the layer's error", err)
		}
	})
}
