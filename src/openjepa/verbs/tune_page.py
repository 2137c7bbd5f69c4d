def write_page(study, request):
    pass
