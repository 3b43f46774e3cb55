# syntax=docker/dockerfile:1

FROM node:26-alpine AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

FROM node:26-alpine
ENV HOST=0.0.0.0 PORT=3000 DATA_DIR=/data NODE_COMPILE_CACHE=/app/compile-cache
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json app.ts config.ts errors.ts server-options.ts server.ts ./
COPY migrations migrations
COPY plugins plugins
COPY routes routes
COPY scripts/move-to-postgres.ts scripts/
COPY services services
RUN mkdir /data compile-cache && chown node:node /data compile-cache
VOLUME /data
USER node
# Compiled once here, so that no container has to strip types or compile when it starts. By the user that runs it: Node keeps
# a folder for each.
RUN node -e "import('./app.ts')"
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/livez`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--max-semi-space-size=8", "server.ts"]
