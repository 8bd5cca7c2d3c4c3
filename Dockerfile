# Two images, of one static binary each that runs as nobody in particular: the operator's, and with --target=bridge the
# bridge's.
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

FROM gcr.io/distroless/static:nonroot AS bridge
COPY LICENSE /LICENSE
COPY --from=build /out/horizon-bridge /horizon-bridge
USER 65532:65532
ENTRYPOINT ["/horizon-bridge"]

# The last one is built where no target is named.
FROM gcr.io/distroless/static:nonroot AS operator
COPY LICENSE /LICENSE
COPY --from=build /out/webhook-operator /webhook-operator
USER 65532:65532
ENTRYPOINT ["/webhook-operator"]
