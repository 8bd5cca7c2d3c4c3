package horizon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxToken bounds a token, in bytes. Those of Horizon have about 50.
const maxToken = 4 << 10

// TokenSource returns the access token of a request: one of a robot, which begins with ha_,
// or of a person. It is asked for each request, and its errors do not show the token.
type TokenSource func() (string, error)

// TokenFile returns the token that a file has when a request is made, so that a token that
// was renewed is used at once. Spaces and line breaks around it are cut off.
func TokenFile(path string) TokenSource {
	return func() (string, error) {
		f, err := os.Open(path) //nolint:gosec // whoever starts the program names it
		if err != nil {
			return "", fmt.Errorf("reading the token of Horizon: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxToken+1))
		if err != nil {
			return "", fmt.Errorf("reading the token of Horizon: %w", err)
		}
		token, err := checkToken(data)
		if err != nil {
			return "", fmt.Errorf("reading the token of Horizon: %s %w", path, err)
		}
		return token, nil
	}
}

// checkToken takes a token that a header can carry, and says of another one what it has.
func checkToken(data []byte) (string, error) {
	token := string(bytes.TrimSpace(data))
	switch {
	case token == "":
		return "", errors.New("is empty")
	case len(data) > maxToken:
		return "", fmt.Errorf("has more than %d bytes: it is no token", maxToken)
	}
	for i, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("has a character at place %d that no token has: it has to be one word", i+1)
		}
	}
	return token, nil
}
