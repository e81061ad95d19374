# One image for the three services of docker-compose.yml; `--build-arg EXTRAS=` builds the bot alone, without torch.
FROM python:3.11-slim-bookworm

ARG EXTRAS=engine
ARG TORCH_CPU_INDEX=
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot bot
COPY engine engine
COPY training training
COPY personas personas
COPY data data
# A new named volume takes the owner of what the image has in its place, and is root's where that is nothing.
RUN pip install --no-cache-dir -c constraints.txt ${TORCH_CPU_INDEX:+--extra-index-url "$TORCH_CPU_INDEX"} \
      -e ".${EXTRAS:+[$EXTRAS]}" \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin troupe \
 && install -d -m 700 -o troupe -g troupe /var/lib/troupe /var/lib/troupe/adapters /var/lib/troupe/snapshots

USER 10001
ENTRYPOINT []
CMD ["troupe", "run"]
