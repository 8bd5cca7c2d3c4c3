package sending

import (
	"bytes"
	"io"
	"log"
)

// logFilter drops what net/http logs of bytes that come unasked on an idle
// connection: the receiver chooses them, and they may hold its secret. No
// transport can be told not to.
type logFilter struct{ io.Writer }

func (f *logFilter) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("Unsolicited response received")) {
		return len(line), nil
	}
	return f.Writer.Write(line)
}

// filterLog puts the filter before the standard logger's output.
func filterLog() {
	out := log.Writer()
	if _, ok := out.(*logFilter); !ok {
		log.SetOutput(&logFilter{out})
	}
}
