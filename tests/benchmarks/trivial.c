/* The honest floor of an application: begins at once, answers every request with 200. HOST and PORT say where. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
    struct timeval patience = {.tv_sec = 1};
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (inet_pton(AF_INET, getenv("HOST"), &place.sin_addr) != 1) return 1;
    if (bind(listener, (struct sockaddr *)&place, sizeof place) || listen(listener, 128)) return 1;
    for (;;) {
        char request[4096];
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (read(connection, request, sizeof request) > 0) (void)!write(connection, ANSWER, strlen(ANSWER));
        close(connection);
    }
}
