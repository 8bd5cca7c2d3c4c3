# The operator's image: one static binary that runs as nobody in particular.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
WORKDIR /src
# Modules first, so that a change of the code does not fetch them again.
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY controllers controllers
COPY internal internal
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags="-s -w -X main.version=$VERSION" -o /webhook-operator ./cmd/webhook-operator

FROM gcr.io/distroless/static:nonroot
COPY LICENSE /LICENSE
COPY --from=build /webhook-operator /webhook-operator
USER 65532:65532
ENTRYPOINT ["/webhook-operator"]
