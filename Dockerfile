# syntax=docker/dockerfile:1

# Pinned by its digest, so that every build starts from the same bytes. Dependabot raises the tag and the digest.
FROM node:26.10.0-alpine@sha256:0b36e8c136b94cd4fcf02188228e76c31ad5872eef3fec8cbd2eee500cfd9e80 AS base
WORKDIR /app

FROM base AS dependencies
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts
# Source maps, type declarations, texts and tests are a third of the folder, and none is loaded. Licences stay.
RUN find node_modules -type f \( -name '*.map' -o -name '*.md' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' \) \
      ! -iname 'licen[cs]e*' -delete \
 && find node_modules -type d \( -name test -o -name tests -o -name docs -o -name examples -o -name 'benchmark*' \) \
      -prune -exec rm -r {} +

FROM base AS all-dependencies
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts

# Replicate's emulator, for the profile `emulator` of compose.yaml: docker build --target emulator .
FROM dependencies AS emulator
ENV EMULATOR_HOST=0.0.0.0 EMULATOR_PORT=3001
COPY --from=all-dependencies /app/node_modules/@expo-google-fonts node_modules/@expo-google-fonts
COPY --from=all-dependencies /app/node_modules/@fontsource-variable node_modules/@fontsource-variable
COPY --from=all-dependencies /app/node_modules/@napi-rs node_modules/@napi-rs
COPY --from=all-dependencies /app/node_modules/h264-mp4-encoder node_modules/h264-mp4-encoder
COPY package.json ./
COPY replicate-emulator replicate-emulator
USER node
EXPOSE 3001
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.EMULATOR_PORT}/emulator/state`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "replicate-emulator/server.ts"]

# The service comes last, so that it is built if no target is named.
FROM base AS service
# With --build-arg POSTERS=true the image has ffmpeg, which makes posters of videos.
ARG POSTERS=false
RUN if [ "$POSTERS" = true ]; then apk add --no-cache ffmpeg; fi
# Others can reach this HOST: the service starts only with API keys, or with ALLOW_ANONYMOUS=true.
ENV HOST=0.0.0.0 PORT=3000 DATA_DIR=/data NODE_COMPILE_CACHE=/app/compile-cache
COPY --from=dependencies /app/node_modules node_modules
COPY LICENSE package.json app.ts config.ts errors.ts server-options.ts server.ts start-line.ts ./
COPY migrations migrations
COPY plugins plugins
COPY public public
COPY routes routes
COPY scripts/api-key.ts scripts/move-to-postgres.ts scripts/
COPY services services
RUN mkdir -m 700 /data && mkdir compile-cache && chown node:node /data compile-cache
VOLUME /data
USER node
# One start and stop fills the compile cache, so that no container has to strip types or compile when it starts. It is made by
# the user that runs the service, because Node keeps a folder for each user, and is read-only from then on.
RUN node --max-semi-space-size=8 --input-type=module -e " \
      import 'close-with-grace'; import './services/store/postgres/postgres-task-store.ts'; \
      import './plugins/prometheus/create-metrics.ts'; \
      import './plugins/opentelemetry/span-exporter.ts'; import './plugins/opentelemetry/task-traces.ts'; \
      import { buildApp } from './app.ts'; import { readConfig } from './config.ts'; \
      const nowhere = { REPLICATE_API_TOKEN: 'none', REPLICATE_API_URL: 'http://127.0.0.1:9/v1', DATA_DIR: ':memory:', LOG_LEVEL: 'silent' }; \
      const app = await buildApp(readConfig(nowhere)); await app.ready(); await app.close()" \
 && chmod -R a-w compile-cache
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/livez`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--max-semi-space-size=8", "server.ts"]
# Last, because they differ from build to build.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title=Dreamreel \
      org.opencontainers.image.description="Self-hosted video generation: post a dream and a style, fetch the video that Replicate made of it" \
      org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION
