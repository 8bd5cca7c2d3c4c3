# Images of your own, from this source and with a container engine: the operator's, and with --target=bridge the
# bridge's. Those of a release are made by hack/release, with the same files.
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
COPY config/crd config/crd
COPY controllers controllers
COPY internal internal
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags="-s -w -X main.version=$VERSION" -o /out/ ./cmd/webhook-operator ./cmd/horizon-bridge

# All that a static binary needs beside itself: the authorities that it trusts.
FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /LICENSE
USER 65532:65532

FROM base AS bridge
COPY --from=build /out/horizon-bridge /horizon-bridge
ENTRYPOINT ["/horizon-bridge"]

# The last one is built where no target is named.
FROM base AS operator
COPY --from=build /out/webhook-operator /webhook-operator
ENTRYPOINT ["/webhook-operator"]
