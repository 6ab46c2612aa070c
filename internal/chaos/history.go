package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Kind says what an Event is, and which of its fields count.
type Kind string

const (
	Push   Kind = "push"   // a push begins: Push, Web, Keys, Expire, Body, ID
	Answer Kind = "answer" // and is answered: Push, Ret, Failed, Note
	Open   Kind = "open"   // a socket was accepted with +h: Client, Socket, Key, Note; Took, Resume, Mid
	Recv   Kind = "recv"   // a message arrived there: Client, Socket, Key, Msgs (one)
	Gap    Kind = "gap"    // a gap was told there: Client, Socket, Key, Mid, Oldest
	Close  Kind = "close"  // the socket is over: Client, Socket, Key, Note
	Ask    Kind = "ask"    // a fetch begins: Fetch, Key, Mid, Client and Socket if it is theirs
	Got    Kind = "got"    // and is answered: Fetch, Ret, Msgs, and the others of Ask
	Fault  Kind = "fault"  // something was broken or healed: Note
	Hang   Kind = "hang"   // the store in Note hangs and nothing else is broken; "": it goes on
	Clock  Kind = "clock"  // the clock of the daemon in Note is off by Off from now on
)

// NoAnswer is the Ret of a call that got no answer: nobody knows its outcome.
const NoAnswer = -1

// Event is one line of a history.
type Event struct {
	At     time.Duration `json:"at"` // since the run began, by one clock that never steps
	Kind   Kind          `json:"ev"`
	Push   int           `json:"push,omitempty"` // these numbers begin at 1
	Fetch  int           `json:"fetch,omitempty"`
	Client int           `json:"client,omitempty"`
	Socket int           `json:"socket,omitempty"`
	Web    string        `json:"web,omitempty"`
	Key    string        `json:"key,omitempty"`
	Keys   []string      `json:"keys,omitempty"`
	Expire int           `json:"expire,omitempty"` // seconds
	Body   string        `json:"body,omitempty"`   // the JSON as it was pushed
	ID     string        `json:"id,omitempty"`     // its Idempotency-Key; a repetition has the same, and another number
	Ret    int           `json:"ret,omitempty"`
	Failed []string      `json:"fk,omitempty"`
	Took   time.Duration `json:"took,omitempty"`   // since the client asked
	Resume bool          `json:"resume,omitempty"` // the client gave Mid and wants what is above it on its socket
	Mid    int64         `json:"mid,omitempty"`    // asked for what is above it
	Oldest int64         `json:"oldest,omitempty"` // the first that is there; 0: none is
	Off    time.Duration `json:"off,omitempty"`
	Msgs   []Message     `json:"msgs,omitempty"`
	Note   string        `json:"note,omitempty"`
}

// Message is a message as a client saw it.
type Message struct {
	Mid  int64  `json:"mid"`
	Gid  int    `json:"gid,omitempty"`
	Body string `json:"msg"` // its JSON; that of an old client taken out of its string
}

// Recorder writes a history. Any goroutine may call it.
type Recorder struct {
	start time.Time

	mu   sync.Mutex
	out  *bufio.Writer
	file io.Closer
	err  error // of the first write that failed
	last map[Kind]int
}

// NewRecorder creates the file at path and begins the history now.
func NewRecorder(path string) (*Recorder, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &Recorder{start: time.Now(), out: bufio.NewWriter(f), file: f, last: make(map[Kind]int)}, nil
}

// Next returns the next number of a push, fetch or socket: Push, Ask, Open.
// Clients are numbered by who makes them.
func (r *Recorder) Next(k Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[k]++
	return r.last[k]
}

// Add appends e, which happens now. Lines lie in the order of their times.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.start)
	line, err := json.Marshal(e)
	if err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	r.err = errors.Join(r.err, err)
}

// Close ends the history. It returns what went wrong with it, if anything did.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, r.out.Flush(), r.file.Close())
}

// Read reads a history.
func Read(path string) ([]Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var events []Event
	once := make(map[string]string) // a body is seen again and again
	dec := json.NewDecoder(bufio.NewReader(f))
	dec.DisallowUnknownFields()
	for {
		var e Event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return events, nil
		} else if err != nil {
			return nil, fmt.Errorf("chaos: %s: event %d: %w", path, len(events)+1, err)
		}
		for i, m := range e.Msgs {
			if _, ok := once[m.Body]; !ok {
				once[m.Body] = m.Body
			}
			e.Msgs[i].Body = once[m.Body]
		}
		events = append(events, e)
	}
}
